"""What limits scaling, in sentences."""
import numpy as np

from .scaling import PARTS, Point, Series
from .tables import align
from .words import bytes_, digits, digits_or_int, percent, seconds, times

NAMES = {"wait_data": "waiting for data", "forward": "forward", "backward": "backward",
         "exchange": "exposed allreduce", "straggler": "waiting for late ranks", "optimizer": "the optimizer",
         "other": "the rest"}
WORTH_SAYING = 0.01  # of a step


def limits(series: Series, link_gbps: float | None) -> list[str]:
    """Sentences about the largest point of a series, the most important first."""
    point, base = series.points[-1], series.points[0]
    at = f"at {times(point.count, series.unit)}"
    if point.efficiency >= 1 - WORTH_SAYING:
        first = f"{series.title} ({series.label}): nothing limits it {at}, efficiency is {percent(point.efficiency)}."
    else:
        lost = sorted(((share, part) for part, share in point.lost.items() if share >= WORTH_SAYING), reverse=True)
        causes = "; ".join(f"{name_of(part, series)} {percent(share)}" for share, part in lost)
        error = f" ± {percent(point.efficiency_error)}" if np.isfinite(point.efficiency_error) else ""
        first = (f"{series.title} ({series.label}): efficiency {at} is {percent(point.efficiency)}{error} of that at "
                 f"{times(base.count, series.unit)}. Of a step of {seconds(point.step_s)}, perfect scaling would not need "
                 f"{percent(1 - point.efficiency)}: {causes}.")
    return [first, *exchange(point, series, link_gbps), *crowding(point, base, at), *gains(point, link_gbps)]


def name_of(part: str, series: Series) -> str:
    return "exposed pushing and pulling" if part == "exchange" and series.served else NAMES[part]


def exchange(point: Point, series: Series, link_gbps: float | None) -> list[str]:
    share = point.part_s("exchange") / point.step_s
    sent, wire = point.mean(lambda run: run.sent_bytes), point.mean(lambda run: run.wire_bytes)
    if sent <= 0:
        return []
    name = name_of("exchange", series).capitalize()
    by_mpi = " (if MPI's algorithm sends as little as it can)" if any(run.sums.between == "mpi" for run in point.runs) else ""
    text = (f"{name} is {percent(share)} of the step at {times(point.count, series.unit)}; each rank sends {bytes_(sent)} "
            f"a step{by_mpi}, and hands {percent(point.mean(lambda run: run.hidden_share))} of it over before backward ends.")
    if wire > 0:
        text += f" {'The busiest node' if series.served else 'A node'} sends {digits(8e-9 * wire / point.step_s)} Gbit/s on average"
        text += f": links of {link_gbps:g} Gbit/s are {percent(8e-9 * wire / point.step_s / link_gbps)} busy." if link_gbps else "."
    return [text]


def crowding(point: Point, base: Point, at: str) -> list[str]:
    """If it is not nodes that were added, but threads on the same processors."""
    most, before = (max((run.crowding for run in p.runs), key=lambda one: one.factor) for p in (point, base))
    if most.factor <= before.factor:
        return []
    return [f"{at[0].upper()}{at[1:]}, {times(most.threads, 'thread')} share {times(most.processors, 'processor')} of one machine: "
            f"computation can be {percent(before.factor / most.factor)} as quick at best, which says nothing of nodes of their own."]


def gains(point: Point, link_gbps: float | None) -> list[str]:
    """What one change would give, all else equal."""
    sentences = []
    step, part = point.step_s, point.part_s
    wire = point.mean(lambda run: run.wire_bytes)
    if part("exchange") >= 0.05 * step and wire > 0 and all(run.sums.could_be_halved for run in point.runs):
        hidden, last = point.mean(lambda run: run.hidden_share), point.mean(lambda run: run.sums.last_share)
        alone = 8e-9 * wire / link_gbps if link_gbps else part("exchange") / max(1 - hidden, 0.1)
        # Half of it is gone, first of what is exposed; but the last bucket cannot hide.
        saved = max(0.0, min(alone / 2, part("exchange") - last * alone / 2))
        sentences.append(f"Half the bytes (--wire bf16, by ring) would give about {percent(saved / (step - saved))} more images/s.")
    if part("straggler") >= 0.05 * step:
        saved = part("straggler")
        sentences.append(f"Ranks that all arrive together would give about {percent(saved / (step - saved))} more images/s.")
    if part("wait_data") >= 0.05 * step:
        saved = part("wait_data")
        sentences.append(f"Data that is always ready would give about {percent(saved / (step - saved))} more images/s.")
    return sentences


def late_ranks(table) -> str:
    """About straggler_table."""
    named = table[table["cause"] != ""]
    if len(named) == 0:
        return "No rank makes the others wait for worth a mention."
    first = [f"rank {row.rank}{' on ' + row.host if row.host else ''} ({row.cause}, {seconds(row.worst_s)})"
             for row in named.head(5).itertuples()]
    return "Ranks that make the others wait, those that cost most first: " + ", ".join(first) + "."


def text_table(series: Series) -> str:
    """For the terminal."""
    served = ["with servers"] if series.served else []
    titles = [series.unit + "s", "runs", "images/s", "speed-up", "efficiency", *served, "step", *(name_of(part, series) for part in PARTS),
              "wire/step", f"{series.unit}-s/epoch"]
    rows = []
    for p in series.points:
        error = f" ± {digits(p.error)}" if np.isfinite(p.error) else ""
        efficiency_error = f" ± {percent(p.efficiency_error)}" if p.efficiency_error > 0 else ""
        rows.append([str(p.count), str(len(p.runs)), digits(p.images_per_second) + error,
                     digits(p.images_per_second / series.points[0].images_per_second),
                     percent(p.efficiency) + efficiency_error, *(with_servers(p) for _ in served), seconds(p.step_s),
                     *(percent(p.part_s(part) / p.step_s) for part in PARTS),
                     bytes_(p.mean(lambda run: run.wire_bytes)), digits(p.cost)])
    return f"{series.title} ({series.label})\n{align([titles, *rows], left=0)}"


def with_servers(point: Point) -> str:
    """'67 % of 3': efficiency, where servers count as some that could train."""
    return f"{percent(point.efficiency_of_all)} of {digits_or_int(point.all_count)}"
