"""Strong and weak scaling from the logs of several runs.

Runs that differ in nothing but nodes and batch belong together. Of these, a strong series has the same global batch at
all node counts, a weak one the same batch a node; runs with the same nodes and batch are repetitions. On one host,
where nothing can be said of nodes, ranks are counted instead.

A step is split as in aggregate.py, so its parts add up, also what was lost: with efficiency e, a share of 1 - e of the
step is beyond what perfect scaling would need, and each part of the step has its part in that.
"""
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .aggregate import Analysis, analyse
from .crowding import Crowding, crowding_of
from .exchange import Sums, sums_of
from .imbalance import steady_share
from .load import Run
from .wire import wire_bytes
from .words import times

PARTS = ("wait_data", "forward", "backward", "exchange", "straggler", "optimizer", "other")
TYPICAL = 0.1, 0.9  # quantiles of durations between which steps count: a machine's hiccups are no scaling


@dataclass
class Measurement:
    """One run in a few numbers: means over ranks and typical steady steps."""
    name: str
    nodes: int
    ranks: int
    all_nodes: int  # with those of parameter servers
    all_ranks: int
    batch: int
    images_per_epoch: int
    step_s: float
    parts_s: dict[str, float]  # of PARTS; they add up to step_s
    sent_bytes: float  # of a rank, a step
    hidden_bytes: float  # of these, sent before backward ended
    wire_bytes: float  # on the busiest node's link, a step; NaN: not known
    sums: Sums
    crowding: Crowding
    steady_share: float  # of the variance between arrivals, see imbalance.py
    latency_s: float  # of a message between nodes, as preflight measured it; NaN: it did not
    analysis: Analysis = field(repr=False)

    @property
    def places(self) -> int:
        """That differ steadily: ranks, or processors where ranks share several."""
        return min(self.ranks, self.crowding.places) if self.crowding.places > 1 else self.ranks

    @property
    def images_per_second(self) -> float:
        return self.batch / self.step_s

    @property
    def hidden_share(self) -> float:
        """Of what was sent; NaN where nothing was."""
        return self.hidden_bytes / self.sent_bytes if self.sent_bytes > 0 else np.nan


def measure(run: Run) -> Measurement:
    a = analyse(run)
    typical = typical_steps(a)
    all_hosts = run.info.get("hosts") or ["?"] * len(a.ranks)
    hosts = all_hosts[:len(a.ranks)]  # of those that train
    nodes = len(set(hosts))
    sent, hidden = (logged(a, column)[typical].mean(axis=0) for column in ("sent_bytes", "hidden_bytes"))
    sums = sums_of(run)
    batch = int(run.number("global_batch")) or int(sum(log["images"].iloc[0] for log in run.ranks.values()))
    return Measurement(
        name=run.name, nodes=nodes, ranks=len(a.ranks), all_nodes=len(set(all_hosts)),
        all_ranks=max(len(a.ranks), len(all_hosts)), batch=batch,
        images_per_epoch=batch * int(run.number("steps_per_epoch")),
        step_s=float(a.phases["step"][typical].mean()),
        parts_s={part: float(a.phases[part][typical].mean()) for part in PARTS},
        sent_bytes=float(sent.mean()), hidden_bytes=float(hidden.mean()),
        wire_bytes=wire_bytes(run, sums, sent), sums=sums, crowding=crowding_of(run, len(a.ranks)),
        steady_share=steady_share(a.lateness_s[typical & a.met]), latency_s=latency_s(run, hosts), analysis=a)


def latency_s(run: Run, hosts: list[str]) -> float:
    """Median over the links that preflight measured between nodes."""
    between = [link["latency_s"] for link in run.info.get("links") or []
               if max(link["from"], link["to"]) < len(hosts) and hosts[link["from"]] != hosts[link["to"]]]
    return float(np.median(between)) if between else np.nan


def typical_steps(a: Analysis) -> np.ndarray:
    """[steps]. Ranks that meet every few steps (local SGD) are judged by whole rounds between meetings, of which each takes as
    long as the next, though its steps do not."""
    rounds = a.steps // a.run.sync_every
    step_s = pd.Series(a.phases["step"].max(axis=1) if a.run.sync_every == 1 and not a.run.asynchronous else a.phases["step"].mean(axis=1))
    whole = pd.Series(a.steady).groupby(rounds).transform("sum").to_numpy() == a.run.sync_every
    of_round = step_s.groupby(rounds).transform("mean").to_numpy()
    counted = whole if whole.any() else a.steady
    low, high = np.quantile(of_round[counted], TYPICAL)
    return counted & (of_round >= low) & (of_round <= high)


def logged(a: Analysis, column: str) -> np.ndarray:
    """[steps, ranks] of a column that aggregate.py does not keep."""
    logs = [a.run.ranks[rank] for rank in a.ranks]
    return np.stack([log[column].to_numpy()[np.searchsorted(log["step"].to_numpy(), a.steps)] for log in logs], axis=1)


def label_of(measured: Measurement, unit: str) -> str:
    """Everything but nodes and batch that must be equal for runs to be comparable, as a person would say it."""
    run = measured.analysis.run
    options, threads = run.info.get("options") or {}, int(run.number("threads_per_rank", 1))
    each = measured.ranks // measured.nodes
    shape = times(threads, "thread") + " a rank"
    if unit == "node":
        shape = f"{times(each, 'rank')} × {times(threads, 'thread')} a node"
    words = [str(run.info.get("network", "")), strategy_of(measured), "" if run.servers else str(options.get("allreduce", "")),
             str(options.get("precision", "")),
             "" if (wire := str(options.get("wire", "fp32"))) == "fp32" else f"{wire} on the wire",
             str(run.info.get("backend", "")).partition(" ")[0], shape]
    return ", ".join(word for word in words if word)


def strategy_of(measured: Measurement) -> str:
    """'parameter-server with 2 asynchronous servers'"""
    options = measured.analysis.run.info.get("options") or {}
    name, servers = str(options.get("strategy", "")), measured.all_ranks - measured.ranks
    if name == "local-sgd":
        return f"local-sgd every {times(int(options.get('sync-every', 0)), 'step')}"
    return f"{name} with {times(servers, 'asynchronous server' if options.get('async') == 'yes' else 'server')}" if servers else name


@dataclass
class Point:
    """All repetitions at one node count."""
    count: int  # nodes or ranks that train
    all_count: float  # with those of parameter servers
    runs: list[Measurement]
    images_per_second: float
    error: float  # standard error of the mean over repetitions; NaN for one
    efficiency: float = np.nan
    efficiency_error: float = np.nan
    lost: dict[str, float] = field(default_factory=dict)  # share of the step by part; adds up to 1 - efficiency

    def mean(self, value) -> float:
        return float(np.mean([value(run) for run in self.runs]))

    @property
    def step_s(self) -> float:
        return self.mean(lambda run: run.step_s)

    def part_s(self, part: str) -> float:
        return self.mean(lambda run: run.parts_s[part])

    @property
    def efficiency_of_all(self) -> float:
        """Where nodes (or ranks) of parameter servers count as some that could train."""
        return self.efficiency * self.count / self.all_count

    @property
    def cost(self) -> float:
        """Node- or rank-seconds of an epoch, parameter servers included."""
        return self.all_count * self.mean(lambda run: run.images_per_epoch) / self.images_per_second


@dataclass
class Series:
    kind: str  # "strong", "weak"
    label: str
    unit: str  # "node", "rank"
    batch: int  # strong: global; weak: of a node
    points: list[Point]

    @property
    def served(self) -> bool:
        return any(p.all_count > p.count for p in self.points)

    @property
    def title(self) -> str:
        of = "images a step" if self.kind == "strong" else f"images a step and {self.unit}"
        return f"{self.kind} scaling, {self.batch:,} {of}"


def names_of(series: list[Series]) -> list[str]:
    """What of titles and labels not all of them share; of one alone, its title."""
    words = [[s.title, *s.label.split(", ")] for s in series]
    own = [[word for word in name if any(word not in other for other in words)] for name in words]
    return [", ".join(name) or s.title for s, name in zip(series, own)]


def find_series(runs: list[Measurement]) -> list[Series]:
    """Every strong and weak series of at least two node counts, in the order in which their runs came."""
    unit = "node" if max(run.nodes for run in runs) > 1 else "rank"
    series = []
    for label, own in group(runs, lambda run: label_of(run, unit)).items():
        for kind, batch_of in (("strong", lambda run: run.batch), ("weak", lambda run: run.batch / count(run, unit))):
            for batch, members in sorted(group(own, batch_of).items()):
                if len({count(run, unit) for run in members}) > 1:
                    series.append(Series(kind, label, unit, int(batch), points_of(members, unit)))
    return series


def points_of(runs: list[Measurement], unit: str) -> list[Point]:
    points = []
    for n, repetitions in sorted(group(runs, lambda run: count(run, unit)).items()):
        rates = np.array([run.images_per_second for run in repetitions])
        error = rates.std(ddof=1) / np.sqrt(len(rates)) if len(rates) > 1 else np.nan
        all_count = np.mean([run.all_nodes if unit == "node" else run.all_ranks for run in repetitions])
        step_s = np.mean([run.step_s for run in repetitions])  # of which the parts' means are parts
        points.append(Point(n, float(all_count), repetitions, float(repetitions[0].batch / step_s), float(error)))
    base = points[0]
    for point in points:
        ideal = base.images_per_second * point.count / base.count
        point.efficiency = point.images_per_second / ideal
        point.efficiency_error = point.efficiency * np.hypot(point.error / point.images_per_second,
                                                             base.error / base.images_per_second)
        point.lost = lost_shares(point, base)
    base.efficiency_error = 0.0
    return points


def lost_shares(point: Point, base: Point) -> dict[str, float]:
    """A perfectly scaled step has the base's parts, divided by how much faster it should be."""
    images = point.mean(lambda run: run.batch) / base.mean(lambda run: run.batch)
    faster = point.count / base.count / images
    return {part: (point.part_s(part) - base.part_s(part) / faster) / point.step_s for part in PARTS}


def count(run: Measurement, unit: str) -> int:
    return run.nodes if unit == "node" else run.ranks


def group(items, key) -> dict:
    groups: dict = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def scaling_table(series: list[Series]) -> pd.DataFrame:
    """One row a point; units in the names."""
    rows = []
    for s in series:
        for p in s.points:
            rows.append({
                "series": s.title, "of": s.label, "kind": s.kind, f"{s.unit}s": p.count, "repetitions": len(p.runs),
                "global_batch": p.runs[0].batch, "images_per_second": p.images_per_second,
                "images_per_second_error": p.error, "speedup": p.images_per_second / s.points[0].images_per_second,
                "efficiency": p.efficiency, "efficiency_error": p.efficiency_error,
                f"{s.unit}s_with_servers": p.all_count, "efficiency_with_servers": p.efficiency_of_all, "step_s": p.step_s,
                **{f"{part}_s": p.part_s(part) for part in PARTS},
                **{f"lost_{part}": share for part, share in p.lost.items()},
                "sent_bytes_per_rank": p.mean(lambda run: run.sent_bytes),
                "hidden_share": p.mean(lambda run: run.hidden_share),
                "wire_bytes_per_node": p.mean(lambda run: run.wire_bytes),
                f"{s.unit}_seconds_per_epoch": p.cost,
            })
    return pd.DataFrame(rows)
