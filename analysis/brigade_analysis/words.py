"""Numbers as a person would say them, and the report's sentences."""
import math

from .aggregate import Analysis, final_accuracy, rank_table

MISSING = "–"


def seconds(value: float) -> str:
    """'310 µs', '24.6 ms', '3.21 s', '1 min 36 s', '2 h 05 min'"""
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) < 0.9995e-3:
        return f"{value * 1e6:.0f} µs"
    if abs(value) < 0.9995:
        return f"{digits(value * 1e3)} ms"
    if value < 99.5:
        return f"{digits(value)} s"
    minutes = round(value / 60)
    if minutes < 60:
        return f"{int(round(value)) // 60} min {int(round(value)) % 60} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def digits(value: float) -> str:
    """Three digits that matter: 0.31, 3.21, 24.6, 310"""
    if value is None or not math.isfinite(value):
        return MISSING
    places = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{places}f}"


def digits_or_int(value: float) -> str:
    return str(int(value)) if value == int(value) else digits(value)


def count(value: float) -> str:
    """60,000"""
    return f"{value:,.0f}" if value is not None and math.isfinite(value) else MISSING


def percent(share: float, places: int | None = None) -> str:
    if share is None or not math.isfinite(share):
        return MISSING
    if places is None:  # a small share would read as 0 %
        places = 0 if abs(share) >= 0.095 or share == 0 else 1
        if 0 < abs(share) < 0.0005:
            return "under 0.1 %"
    return f"{100 * share:.{places}f} %"


def bytes_(value: float) -> str:
    """'49.2 MB'; powers of 1000"""
    if value is None or not math.isfinite(value):
        return MISSING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5:
            break
        value /= 1000
    else:
        unit = "TB"
    return f"{value:.0f} B" if unit == "B" else f"{digits(value)} {unit}"


def times(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def where_time_went(a: Analysis) -> str:
    step = seconds(float(a.phases["step"][a.steady].mean()))
    share = {phase: percent(a.share(phase)) for phase in a.phases}
    compute = percent(a.share("forward", "backward", "optimizer"))
    text = (f"Of a step of {step} on average, {compute} was computation (forward {share['forward']}, "
            f"backward {share['backward']}, optimizer {share['optimizer']})")
    if a.run.asynchronous:
        text += f", {share['reduce_wait']} pushing gradients to the servers and pulling weights where backward did not hide it"
    elif len(a.ranks) > 1:
        text += (f", {share['reduce_wait']} was the {meeting(a)} where backward did not hide it (waiting for "
                 f"the last rank {share['straggler']}, exchange {share['exchange']})")
    else:
        text += f", {share['reduce_wait']} the end of the reduction"
    return text + f", {share['wait_data']} waiting for data and {share['other']} the rest."


def meeting(a: Analysis) -> str:
    """What ranks wait for one another in."""
    return "sum of gradients" if a.run.sync_every == 1 else "average of weights"


def who_is_late(a: Analysis) -> str:
    if a.run.asynchronous and len(a.ranks) > 1:
        return nobody_waits(a)
    s = a.straggler
    if s is None:
        return "One rank: nobody to wait for." if len(a.ranks) == 1 else "Ranks did not meet in these steps."
    times_met = "the steps" if a.run.sync_every == 1 else "these"
    if not s.named:
        return (f"No single rank is slow: rank {s.rank} is last at the {meeting(a)} most often, in {percent(s.last_share)} of "
                f"{times_met}, {seconds(s.delay_s)} after the others.")
    why = {"data": "it waits for data longer", "compute": "its forward and backward take longer",
           "between steps": "its optimizer, or what is between steps, takes longer",
           "network": "the bytes of its neighbour reach it later"}[s.cause]
    return (f"Rank {s.rank}{on_host(a, s.rank)} is slow: last at the {meeting(a)} in {percent(s.last_share)} "
            f"of {times_met}, {seconds(s.delay_s)} after the others, because {why} "
            f"({seconds(s.excess_s[s.cause])} of it). Were it as quick as the next to last rank, training would take "
            f"{percent(s.cost_share)} less time.")


def nobody_waits(a: Analysis) -> str:
    """Of asynchronous workers: what holds them up is the servers' answers, which may be kept back for the slowest worker's sake."""
    own_s = a.mean_s("step") - a.mean_s("reduce_wait")
    slowest = a.ranks[int(own_s.argmax())]
    return (f"Workers do not wait for one another's gradients, but for the servers' answers: {percent(a.share('reduce_wait'))} of "
            f"their time, which includes that of workers more than {a.run.options.get('staleness', '?')} steps ahead of the slowest. The "
            f"rest of a step takes {seconds(own_s.min())} to {seconds(own_s.max())}, longest on rank {slowest}{on_host(a, slowest)}.")


def busy_cores(a: Analysis) -> str | None:
    """A sentence if the ranks had to share their cores with somebody: interrupted often, and computing for less time
    than they neither waited for data nor for others."""
    table = rank_table(a)
    threads = a.run.number("threads_per_rank", 1)
    busy = table["busy_cores"].min()
    switches_per_s = table["involuntary_switches"].max() / max(a.elapsed_s[-1], 1)
    if not busy + threads * a.share("wait_data", "reduce_wait") < 0.75 * threads or switches_per_s < 100:
        return None
    row = table.loc[table["busy_cores"].idxmin()]
    return (f"Rank {row['rank']} got only {digits(busy)} of its {times(int(threads), 'core')} and was interrupted "
            f"{count(row['involuntary_switches'])} times: other programs, or too many threads, shared them.")


def on_host(a: Analysis, rank: int) -> str:
    hosts = a.run.info.get("hosts") or []
    return f" on {hosts[rank]}" if rank < len(hosts) and len(set(hosts)) > 1 else ""


def warm_up(a: Analysis) -> str:
    if a.warm_up_steps == 0:
        return "Times are over all steps."
    starts = "the start" if a.session[-1] == 0 else "each start"
    return f"Times leave out the first {a.warm_up_steps} of {times(len(a.steps), 'step')}, the warm-up after {starts}."


def accuracy(a: Analysis) -> str:
    """'91.25 % of 10,000 test images (loss 0.243)'"""
    final = final_accuracy(a.run)
    if final is None:
        return "not known yet (no epoch is finished)"
    return (f"{percent(final['accuracy'], 2)} of {count(final['images'])} {final['of']} images "
            f"(loss {final['loss']:.4f})")


def machines(a: Analysis) -> str:
    """'2 ranks × 1 thread on 1 host'"""
    run = a.run
    hosts = len(set(run.info.get("hosts") or [])) or 1
    ranks, threads = int(run.number("ranks", len(a.ranks))), int(run.number("threads_per_rank", 1))
    return f"{times(ranks, 'rank')} × {times(threads, 'thread')} on {times(hosts, 'host')}"
