"""How long a step takes on N nodes: a model with few terms, fitted to the logs of a few runs.

    step(N, b) = data(b) + forward(b) + backward(b)  of b images a node: measured ones joined by straight lines, beyond them
                                                     a serial and a parallel part (Ernest: Venkataraman et al., NSDI 2016)
               + I + exposed(S(N) K, R(N), backward) what backward does not hide of the sum of gradients (network.py)
               + s(b) m(N k)                         the mean rank's wait for the last of N nodes of k ranks (imbalance.py)
               + optimizer and other

Of K bytes of gradients, S(N) go one after another over a node's link, in R(N) rounds of one latency each (exchange.py has both
for every algorithm: a ring's are 2 (N-1)/N and 2 (N-1)). I is what the ranks of one node wait for the sum among themselves, as
measured on one node (0 for one rank a node), s the standard deviation of arrivals. A wire format of 2 bytes halves K on its way
through a ring.

The parts of a step are in the logs, and so each is fitted by itself, not the step's duration alone; runs on one and two nodes
suffice. Computation in company, and how ranks scatter, are fitted apart from that on one node: messages move on the thread that
computes, which so becomes slower once, and not again with more nodes. What is not in here: switches that many nodes overload, file
systems, and nodes that are not alike.
"""
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from .exchange import WIRE_SHARE, Exchange, Sums, exchange_of
from .imbalance import mean_lateness
from .load import RunError
from .network import NARROW, Exchanges, Network, fit_network
from .scaling import Measurement, group


@dataclass(frozen=True)
class Curve:
    """Seconds for a number of images: straight between those measured, beyond them in proportion to a line."""
    images: tuple[float, ...]  # ascending
    seconds: tuple[float, ...]
    serial_s: float  # of the line
    per_image_s: float

    def __call__(self, images: float) -> float:
        nearest = min(max(images, self.images[0]), self.images[-1])
        return float(np.interp(nearest, self.images, self.seconds)) * self.line(images) / self.line(nearest)

    def line(self, images: float) -> float:
        return self.serial_s + self.per_image_s * images

    def slowed(self, factor: float) -> "Curve":
        return Curve(self.images, tuple(factor * s for s in self.seconds), factor * self.serial_s, factor * self.per_image_s)


@dataclass(frozen=True)
class Compute:
    """Seconds of the parts that need no other node, of a step of some images on a node."""
    data_s: Curve
    forward_s: Curve
    backward_s: Curve
    rest_s: float  # optimizer and other
    scatter_s: Curve  # standard deviation of a rank's arrival at the sum
    steady_share: float  # of its variance, see imbalance.py

    def slowed(self, factor: float) -> "Compute":
        return replace(self, data_s=self.data_s.slowed(factor), forward_s=self.forward_s.slowed(factor), rest_s=factor * self.rest_s,
                       backward_s=self.backward_s.slowed(factor), scatter_s=self.scatter_s.slowed(factor))

    def straggler_s(self, images: float, ranks: int, places: int) -> float:
        return self.scatter_s(images) * mean_lateness(ranks, places, self.steady_share)


@dataclass(frozen=True)
class StepModel:
    exchange: Exchange
    sums: Sums  # of a step
    alone: Compute  # on one node
    together: Compute  # on several
    network: Network
    node_s: float  # I

    def compute(self, nodes: int) -> Compute:
        return self.alone if nodes == 1 else self.together

    def gradient_bytes(self, nodes: int) -> float:
        """K, as they travel between so many nodes."""
        return self.sums.total_bytes * (WIRE_SHARE[self.sums.wire] if self.exchange.at(nodes).algorithm == "ring" else 1.0)

    def exchange_s(self, nodes: int, images: float) -> float:
        if nodes == 1:
            return self.node_s
        how = self.exchange.at(nodes)
        return self.node_s + float(self.network.exposed_s(how.path_share(nodes) * self.gradient_bytes(nodes), how.rounds(nodes),
                                                          self.sums.last_share, self.compute(nodes).backward_s(images)))

    def parts_s(self, nodes: int, images: float, places: int | None = None) -> dict[str, float]:
        """By part of the step, for this many images a node. `places`: that differ steadily; as many as ranks, if not given."""
        own, ranks = self.compute(nodes), nodes * self.exchange.ranks_per_node
        return {"wait_data": own.data_s(images), "forward": own.forward_s(images), "backward": own.backward_s(images),
                "exchange": self.exchange_s(nodes, images), "straggler": own.straggler_s(images, ranks, places or ranks),
                "rest": own.rest_s}

    def step_s(self, nodes: int, images: float, places: int | None = None) -> float:
        return sum(self.parts_s(nodes, images, places).values())

    def on_link(self, bytes_per_s: float | None, latency_s: float | None, wire: str | None = None) -> "StepModel":
        """The same program on another network, or with another wire format than that of the runs (which rings take only); None: as
        it is."""
        return replace(self, sums=replace(self.sums, wire=wire or self.sums.wire), network=self.network.on_link(bytes_per_s, latency_s))

    def slowed(self, factor: float) -> "StepModel":
        """The same program where this many threads take turns on a processor."""
        return replace(self, alone=self.alone.slowed(factor), together=self.together.slowed(factor))


def fit(runs: list[Measurement], link_bytes_per_s: float | None = None) -> StepModel:
    """Needs runs of one network and as many ranks on each node, some of them on several nodes. `link_bytes_per_s`: what a link of
    theirs carries each way, if known."""
    several = [run for run in runs if run.nodes > 1]
    if not several:
        raise RunError("the runs are all on one node (nothing tells how quick the network is). Add a run on two nodes?")
    exchange, sums = exchange_of_all(runs), usual_sums(several)
    single = [run for run in runs if run.nodes == 1]
    node_s = part_median(single, "exchange") if single and exchange.ranks_per_node > 1 else 0.0
    return StepModel(exchange=exchange, sums=sums, alone=fit_compute(single or several),
                     together=fit_compute(several), node_s=node_s,
                     network=fit_network(exchanges_of(several, node_s), link_bytes_per_s))


def exchanges_of(runs: list[Measurement], node_s: float) -> Exchanges:
    def each(value) -> np.ndarray:
        return np.array([float(value(run)) for run in runs])

    def how(run: Measurement) -> Exchange:
        return exchange_of(run.sums, run.ranks // run.nodes)

    return Exchanges(sent=each(lambda run: how(run).path_share(run.nodes) * run.sums.wire_bytes),
                     rounds=each(lambda run: how(run).rounds(run.nodes)),
                     last_share=each(lambda run: run.sums.last_share), backward_s=each(lambda run: run.parts_s["backward"]),
                     exposed_s=each(lambda run: max(run.parts_s["exchange"] - node_s, 1e-9)), step_s=each(lambda run: run.step_s),
                     hidden_share=each(lambda run: run.hidden_share), latency_s=middle([run.latency_s for run in runs]))


def middle(values: list[float]) -> float:
    """The median of those that are numbers; NaN if none is."""
    numbers = [value for value in values if np.isfinite(value)]
    return float(np.median(numbers)) if numbers else np.nan


def exchange_of_all(runs: list[Measurement]) -> Exchange:
    each = {run.ranks / run.nodes for run in runs}
    if len(each) > 1 or not float(min(each)).is_integer():
        raise RunError(f"nodes have different numbers of ranks ({', '.join(f'{n:g}' for n in sorted(each))}). Leave some "
                       "runs out?")
    return exchange_of(usual_sums([run for run in runs if run.nodes > 1]), int(min(each)))


def usual_sums(runs: list[Measurement]) -> Sums:
    """Those that the most runs made; with --bucket auto, each has found its own buckets."""
    return Counter(run.sums for run in runs).most_common(1)[0][0]


def fit_compute(runs: list[Measurement]) -> Compute:
    def scatter_s(run: Measurement) -> float:
        lateness = mean_lateness(run.ranks, run.places, run.steady_share)
        return run.parts_s["straggler"] / lateness if lateness > 0 else 0.0

    return Compute(data_s=curve(runs, "wait_data"), forward_s=curve(runs, "forward"), backward_s=curve(runs, "backward"),
                   rest_s=part_median(runs, "optimizer") + part_median(runs, "other"), scatter_s=curve(runs, scatter_s),
                   steady_share=float(np.median([run.steady_share for run in runs])))


def curve(runs: list[Measurement], part) -> Curve:
    """Of a part, or of what a function says of a run."""
    value = part if callable(part) else lambda run: run.parts_s[part]
    by_images = sorted(group(runs, lambda run: run.batch / run.nodes).items())
    images = [n for n, _ in by_images]
    seconds = [max(float(np.median([value(run) for run in own])), 1e-9) for _, own in by_images]
    return Curve(tuple(images), tuple(seconds), *line(images, seconds))


def part_median(runs: list[Measurement], part: str) -> float:
    return float(np.median([run.parts_s[part] for run in runs]))


def line(x, y) -> tuple[float, float]:
    """Intercept and slope, neither negative, by relative errors; with one x only, all is slope."""
    x, y = np.asarray(x, float), np.maximum(np.asarray(y, float), 1e-9)
    if np.ptp(x) < NARROW * x.max():
        return 0.0, float(np.mean(y) / np.mean(x))
    (intercept, slope), _ = optimize.nnls(np.stack([1 / y, x / y], axis=1), np.ones_like(y))
    return float(intercept), float(slope)
