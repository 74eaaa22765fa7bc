"""The command `predict`: what a step would take on other node counts and networks, beside measurement and simulation."""
import re

import numpy as np

from .load import RunError
from .crowding import Crowding
from .exchange_simulation import SumsInFlight, mean_end_after_backward
from .scaling import Measurement, group, label_of
from .step_model import Prediction, StepModel, fit, predict
from .tables import align
from .words import digits, digits_or_int, percent, seconds

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


def predictions(runs: list[Measurement], nodes: list[int], fit_nodes: list[int] | None, link_gbps: float | None,
                latency_us: float | None, wire: str | None = None, fit_link_gbps: float | None = None) -> list[dict]:
    """A row for each scaling mode, batch and node count. `fit_link_gbps`: of the runs' own links, if known."""
    if len({label_of(run, "node") for run in runs}) > 1:
        raise RunError("the runs are not of one kind: " + "; ".join(sorted({label_of(run, 'node') for run in runs})) +
                       ". Give runs that differ in nodes and batch only?")
    used = [run for run in runs if fit_nodes is None or run.nodes in fit_nodes]
    if not used:
        raise RunError(f"no run has one of the node counts {fit_nodes}.")
    link = (bytes_per_s(link_gbps), latency_us * 1e-6 if latency_us is not None else None, wire)
    own_link = bytes_per_s(fit_link_gbps)
    model = fit(used, own_link).on_link(*link)
    crowding = max(run.crowding.factor for run in used)
    comparable = runs if link == (None, None, None) else []  # those on another network are not
    rows = []
    for mode, batch, batch_of in batches(used):
        one = batch_of(1) / model.step_s(1, batch_of(1))
        for p in predict(used, nodes, batch_of, link, own_link):
            if (images := batch_of(p.nodes)) < p.nodes:
                continue  # a node needs an image
            rows.append({"mode": mode, "batch": batch, "global_batch": images, **as_row(p),
                         "efficiency": p.images_per_second / (p.nodes * one),
                         "simulated_step_s": simulated_step_s(model, p, images / p.nodes),
                         "measured": measured(comparable, p.nodes, images),
                         **measured_parts(comparable, p.nodes, images),
                         **crowded_row(model, crowded_more(comparable, p.nodes, images, crowding), crowding, p.nodes, images)})
    return rows


def bytes_per_s(gbps: float | None) -> float | None:
    return gbps * 1e9 / 8 if gbps else None


def crowded_row(model: StepModel, crowded: Crowding | None, than: float, nodes: int, images: float) -> dict:
    """What the model says with computation slowed as much as that of the runs measured there; None and NaN if it was not."""
    slowed = model.slowed(crowded.factor / than if crowded else np.nan)
    return {"measured_threads": crowded.threads if crowded else None,
            "measured_processors": crowded.processors if crowded else None,
            "crowded_images_per_second": images / slowed.step_s(nodes, images / nodes)}


def crowded_more(runs: list[Measurement], nodes: int, batch: float, than: float) -> Crowding | None:
    """That of runs whose threads shared processors more than those which the model was fitted to: no such nodes are meant."""
    found = [run.crowding for run in runs if run.nodes == nodes and run.batch == batch]
    most = max(found, key=lambda one: one.factor, default=Crowding())
    return most if most.factor > MORE * than else None


def about_crowding(rows: list[dict]) -> list[str]:
    """Where a measurement is not of what the model speaks of, and what it says of that instead."""
    lines = []
    for row in rows:
        if row["measured_threads"] is None:
            continue
        error = row["crowded_images_per_second"] / row["measured"] - 1
        lines.append(f"{row['mode']} {digits_or_int(row['batch'])}, {row['nodes']} nodes: the prediction does not apply to these runs, "
                     f"which had {row['measured_threads']} threads on {row['measured_processors']} processors of one machine; it is for "
                     f"nodes with processors of their own. With computation slowed by that (but not what messages cost) it says "
                     f"{digits(row['crowded_images_per_second'])} images/s ({100 * error:+.1f} %).")
    return lines


def batches(runs: list[Measurement]):
    """The strong and weak series to predict: those batches that the most runs share."""
    strong = most_common(group(runs, lambda run: run.batch))
    yield "strong", strong, lambda nodes: strong
    for weak in sorted(group(runs, lambda run: run.batch / run.nodes)):
        yield "weak", weak, lambda nodes, weak=weak: weak * nodes


def most_common(groups: dict):
    return max(groups, key=lambda key: (len({run.nodes for run in groups[key]}), key))


def as_row(p: Prediction) -> dict:
    return {"nodes": p.nodes, "images_per_second": p.images_per_second, "low": p.low, "high": p.high, "step_s": p.step_s,
            **{f"{part}_s": value for part, value in p.parts_s.items()}}


def measured(runs: list[Measurement], nodes: int, batch: float) -> float:
    """Median over repetitions: one that was disturbed does not count."""
    rates = [run.images_per_second for run in runs if run.nodes == nodes and run.batch == batch]
    return float(np.median(rates)) if rates else np.nan


# A step's parts as the table shows them, of those of scaling.py and of the model.
PARTS = {"data": ("wait_data",), "compute": ("forward", "backward", "optimizer", "other"), "exchange": ("exchange",),
         "imbalance": ("straggler",)}
MODEL_PARTS = {**PARTS, "compute": ("forward", "backward", "rest")}


def measured_parts(runs: list[Measurement], nodes: int, batch: float) -> dict[str, float]:
    """'measured_exchange_s' and so on; medians over repetitions, as `measured` is. NaN where nothing was measured."""
    same = [run for run in runs if run.nodes == nodes and run.batch == batch]
    return {f"measured_{title}_s": float(np.median([sum(run.parts_s[part] for part in parts) for run in same])) if same else np.nan
            for title, parts in PARTS.items()}


SPLIT_TITLES = ["scaling", "batch", "nodes", *(f"{title} (measured)" for title in ("step", *PARTS))]


def split_rows(rows: list[dict]) -> list[list[str]]:
    """Where a prediction and a measurement differ: each part of the step, predicted and measured. Of what was measured only."""
    lines = []
    for row in rows:
        if not np.isfinite(row["measured"]):
            continue
        parts = {title: sum(row[f"{part}_s"] for part in parts) for title, parts in MODEL_PARTS.items()}
        both = [(row["step_s"], row["global_batch"] / row["measured"]), *((parts[title], row[f"measured_{title}_s"]) for title in PARTS)]
        lines.append([row["mode"], digits_or_int(row["batch"]), str(row["nodes"]), *(f"{seconds(a)} ({seconds(b)})" for a, b in both)])
    return lines


def simulated_step_s(model: StepModel, p: Prediction, images: float) -> float:
    """With the exchange and the wait for late ranks from the simulation instead of the closed form."""
    if not 1 < p.nodes <= MOST_SIMULATED or model.exchange.flat and model.exchange.ranks_per_node > 1:
        return np.nan
    backward = model.compute(p.nodes).backward_s(images)
    buckets = tuple(model.gradient_bytes * one / model.sums.total_bytes for one in model.sums.bytes_)
    sums = SumsInFlight(buckets, (backward,) * p.nodes, model.seconds_per_byte, model.latency_s,
                        float(np.clip(model.hidden_s(p.nodes, images) / backward, 1e-3, 1)), model.exchange)
    waits = model.node_s + mean_end_after_backward(sums, 8, model.compute(p.nodes).scatter_s(images))
    return p.step_s - p.parts_s["exchange"] - p.parts_s["straggler"] + waits


def describe(model: StepModel) -> str:
    within = f"sums within a node are waited for {seconds(model.node_s)}; " if model.node_s > 0 else ""
    gbps = 8e-9 / model.seconds_per_byte
    head = f" and {seconds(model.head_start_s)} before" if model.head_start_s > 0 else ""
    scatter = [seconds(model.together.scatter_s(images)) for images in model.together.scatter_s.images]
    return (f"{model.exchange.name}; {model.gradient_bytes / 1e6:.3g} MB of gradients; {within}links carry {gbps:.3g} Gbit/s, a "
            f"round takes {seconds(model.latency_s)} more; {percent(model.overlap)} of the speed while backward runs{head}; arrivals "
            f"scatter by {' to '.join(dict.fromkeys((scatter[0], scatter[-1])))}.")


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
                      digits(row["measured"]), (f"{100 * error:+.1f} %" + ("*" if row["measured_threads"] else "")) if np.isfinite(error) else "–"])
    return align(lines, left=0)
