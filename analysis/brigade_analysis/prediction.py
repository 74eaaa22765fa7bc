"""The command `predict`: what a step would take on other node counts and networks, beside measurement and simulation."""
import re

import numpy as np

from .crowding import Crowding
from .exchange_simulation import SumsInFlight, mean_end_after_backward
from .forecast import Forecast, forecast
from .load import RunError
from .scaling import Measurement, group, label_of
from .step_model import StepModel, middle
from .tables import align
from .words import digits, digits_or_int, percent, seconds, times

MOST_SIMULATED = 32  # nodes: the number of messages grows with their square
MOST_NODES = 1 << 20
MORE = 1.05  # times as crowded: not by chance


def parse_nodes(text: str) -> list[int]:
    """'1,2,6' or '1..4096' (by powers of two, and the last one)"""
    if match := re.fullmatch(r"(\d+)\.\.(\d+)", text):
        first, last = int(match[1]), int(match[2])
        nodes = [first] if 0 < first <= last else []
        while nodes and nodes[-1] * 2 <= min(last, MOST_NODES):
            nodes.append(nodes[-1] * 2)
        nodes += [last] if nodes and nodes[-1] < last else []
    else:
        nodes = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if not nodes or min(nodes) < 1 or max(nodes) > MOST_NODES or (".." not in text and len(nodes) != text.count(",") + 1):
        raise RunError(f"--nodes {text} names no node counts from 1 to {MOST_NODES}. Write 1,2,4 or 1..4096?")
    return nodes


def predictions(runs: list[Measurement], nodes: list[int], fit_nodes: list[int] | None = None, link: tuple = (None, None, None),
                fit_link_gbps: float | None = None) -> tuple[Forecast, list[dict]]:
    """The model, and a row for each scaling mode, batch and node count. `link`: Gbit/s, latency in us and wire format to predict for,
    None: as in the runs. `fit_link_gbps`: of the runs' own links, if known."""
    if len({label_of(run, "node") for run in runs}) > 1:
        raise RunError("the runs are not of one kind: " + "; ".join(sorted({label_of(run, 'node') for run in runs})) +
                       ". Give runs that differ in nodes and batch only?")
    used = [run for run in runs if fit_nodes is None or run.nodes in fit_nodes]
    if not used:
        raise RunError(f"no run has one of the node counts {fit_nodes}.")
    link_gbps, latency_us, wire = link
    latency_s = None if latency_us is None else latency_us * 1e-6
    fitted = forecast(used, bytes_per_s(fit_link_gbps)).on_link(bytes_per_s(link_gbps), latency_s, wire)
    comparable = runs if link == (None, None, None) else []  # those on another network are not
    crowding, rows = max(run.crowding.factor for run in used), []
    for mode, batch, batch_of in batches(used):
        for n in nodes:
            if (images := batch_of(n)) >= n:  # a node needs an image
                same = [run for run in comparable if (run.nodes, run.batch) == (n, images)]
                rows.append({"mode": mode, "batch": batch, **row(fitted, n, images, batch_of(1), same, crowding)})
    return fitted, rows


def bytes_per_s(gbps: float | None) -> float | None:
    return gbps * 1e9 / 8 if gbps else None


def row(fitted: Forecast, nodes: int, images: float, of_one: float, same: list[Measurement], crowding: float) -> dict:
    """`of_one`: images a step on one node, `same`: runs that measured it, `crowding`: of the runs fitted to."""
    model = fitted.model
    parts = model.parts_s(nodes, images / nodes)
    step_s = sum(parts.values())
    low, high = fitted.band(nodes, images)
    there, how = on_hosts_measured(model, nodes, images / nodes, same, crowding)
    return {"nodes": nodes, "global_batch": images, "images_per_second": images / step_s, "low": low, "high": high,
            "step_s": step_s, **{f"{part}_s": value for part, value in parts.items()},
            "efficiency": images / step_s / nodes / (of_one / model.step_s(1, of_one)),
            "simulated_step_s": simulated_step_s(model, nodes, images / nodes, parts),
            "measured": middle([run.images_per_second for run in same]), **measured_parts(same),
            "hosts_measured": how, "there_step_s": sum(there.values()), **{f"there_{part}_s": value for part, value in there.items()}}


def on_hosts_measured(model: StepModel, nodes: int, images: float, same: list[Measurement], crowding: float) -> tuple[dict, str]:
    """The parts of a step where nodes share processors as those of the runs do, and how they do; the same as on nodes of their own,
    and nothing, if they do not."""
    most = max((run.crowding for run in same), key=lambda one: one.factor, default=Crowding())
    slower = most.factor / crowding if most.factor > MORE * crowding else 1.0
    ranks, places = nodes * model.exchange.ranks_per_node, min((run.places for run in same), default=0)
    how = []
    if slower > 1:
        how.append(f"{most.threads} threads on {most.processors} processors of one machine, computation slowed by that (but not what "
                   "messages cost)")
    if 0 < places < ranks:
        how.append(f"{ranks} ranks on {times(places, 'processor')}, which alone can differ steadily")
    return (model.slowed(slower) if how else model).parts_s(nodes, images, places if how else None), "; ".join(how)


def about_hosts(rows: list[dict]) -> list[str]:
    """Where a measurement is not of what the model speaks of, and what it says of that instead."""
    return [f"{row['mode']} {digits_or_int(row['batch'])}, {row['nodes']} nodes: the prediction is for nodes with processors of their own. "
            f"For hosts as measured ({row['hosts_measured']}) it says {digits(row['global_batch'] / row['there_step_s'])} images/s "
            f"({100 * (row['global_batch'] / row['there_step_s'] / row['measured'] - 1):+.1f} %)." for row in rows if row["hosts_measured"]]


def about_fit(fitted: Forecast, runs: list[Measurement]) -> list[str]:
    """What the runs could not tell."""
    several = [run for run in runs if run.nodes > 1]
    lines = []
    if len({run.nodes for run in several}) == 1 and not np.isfinite(middle([run.latency_s for run in several])):
        lines.append("Latency counts as 0 unless given: runs on one number of nodes beyond one cannot tell it from bandwidth, and none "
                     "measured it (train --preflight). Many nodes by ring need many rounds: give --link-gbps and --latency-us, or runs "
                     "on more nodes?")
    if fitted.freedom == 0:
        lines.append("No run was repeated, so nothing is known of how far the predictions can be trusted. Repeat the runs for a band?")
    return lines


def batches(runs: list[Measurement]):
    """The strong and weak series to predict: strong ones of batches measured on several numbers of nodes, or of the largest."""
    by_batch = group(runs, lambda run: run.batch)
    several = [batch for batch, own in by_batch.items() if len({run.nodes for run in own}) > 1]
    for strong in sorted(several) or [max(by_batch)]:
        yield "strong", strong, lambda nodes, strong=strong: strong
    for weak in sorted(group(runs, lambda run: run.batch / run.nodes)):
        yield "weak", weak, lambda nodes, weak=weak: weak * nodes


# A step's parts as the table shows them, of those of scaling.py and of the model.
PARTS = {"data": ("wait_data",), "compute": ("forward", "backward", "optimizer", "other"), "exchange": ("exchange",),
         "imbalance": ("straggler",)}
MODEL_PARTS = {**PARTS, "compute": ("forward", "backward", "rest")}


def measured_parts(same: list[Measurement]) -> dict[str, float]:
    """'measured_exchange_s' and so on; medians over repetitions: one that was disturbed does not count. NaN where there are none."""
    return {f"measured_{title}_s": middle([sum(run.parts_s[part] for part in parts) for run in same])
            for title, parts in PARTS.items()}


SPLIT_TITLES = ["scaling", "batch", "nodes", *(f"{title} (measured)" for title in ("step", *PARTS))]


def split_rows(rows: list[dict]) -> list[list[str]]:
    """Where a prediction (for hosts as measured) and a measurement differ: each part of the step. Of what was measured only."""
    lines = []
    for row in rows:
        if not np.isfinite(row["measured"]):
            continue
        parts = {title: sum(row[f"there_{part}_s"] for part in parts) for title, parts in MODEL_PARTS.items()}
        both = [(row["there_step_s"], row["global_batch"] / row["measured"]),
                *((parts[title], row[f"measured_{title}_s"]) for title in PARTS)]
        lines.append([row["mode"], digits_or_int(row["batch"]), str(row["nodes"]),
                      *(f"{seconds(predicted)} ({seconds(seen)})" for predicted, seen in both)])
    return lines


def simulated_step_s(model: StepModel, nodes: int, images: float, parts: dict[str, float]) -> float:
    """With the exchange and the wait for late ranks from the simulation instead of the closed form."""
    if not 1 < nodes <= MOST_SIMULATED or model.exchange.flat and model.exchange.ranks_per_node > 1:
        return np.nan
    buckets = tuple(model.gradient_bytes(nodes) * one / model.sums.total_bytes for one in model.sums.bytes_)
    sums = SumsInFlight(buckets, (parts["backward"],) * nodes, model.network, model.exchange.at(nodes))
    waits = model.node_s + mean_end_after_backward(sums, 8, model.compute(nodes).scatter_s(images))
    return sum(parts.values()) - parts["exchange"] - parts["straggler"] + waits


def describe(model: StepModel) -> str:
    network, gradients = model.network, model.sums.wire_bytes
    scatter = [seconds(model.together.scatter_s(images)) for images in model.together.scatter_s.images]
    within = f"sums within a node are waited for {seconds(model.node_s)}; " if model.node_s > 0 else ""
    head = f" and {seconds(network.head_start_s)} before" if network.head_start_s > 0 else ""
    return (f"{model.exchange.name}; {gradients / 1e6:.3g} MB of gradients; {within}"
            f"links carry {8e-9 / network.seconds_per_byte:.3g} Gbit/s, a round takes {seconds(network.latency_s)} more; "
            f"{percent(network.overlap)} of the speed while backward runs{head}; arrivals scatter by "
            f"{' to '.join(dict.fromkeys((scatter[0], scatter[-1])))}, {percent(model.together.steady_share)} of the variance steadily.")


def text_table(rows: list[dict]) -> str:
    titles = ["scaling", "batch", "nodes", "images/s", "5 % to 95 %", "efficiency", "step", "data", "compute", "exchange",
              "imbalance", "simulated", "measured", "error"]
    lines = [titles]
    for row in rows:
        error = row["images_per_second"] / row["measured"] - 1
        lines.append([row["mode"], digits_or_int(row["batch"]), str(row["nodes"]), digits(row["images_per_second"]),
                      f"{digits(row['low'])} to {digits(row['high'])}", percent(row["efficiency"]), seconds(row["step_s"]),
                      seconds(row["wait_data_s"]), seconds(sum(row[f"{part}_s"] for part in MODEL_PARTS["compute"])),
                      seconds(row["exchange_s"]), seconds(row["straggler_s"]), seconds(row["simulated_step_s"]),
                      digits(row["measured"]),
                      (f"{100 * error:+.1f} %" + ("*" if row["hosts_measured"] else "")) if np.isfinite(error) else "–"])
    return align(lines, left=0)
