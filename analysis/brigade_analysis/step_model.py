"""How long a step takes on N nodes: a model with few terms, fitted to the logs of a few runs.

    step(N, b) = data(b) + forward(b) + backward(b)  of b images a node: measured ones joined by straight lines, beyond them
                                                     a serial and a parallel part (Ernest)
               + exchange(N, b)                      what backward does not hide of the sum of gradients
               + s(b) m(N k)                         the mean rank's wait for the last of N nodes of k ranks
               + optimizer and other

Of K bytes of gradients, S(N) go one after another over a node's link, in R(N) rounds of one latency each (exchange.py has
both for every algorithm: a ring's are 2 (N-1)/N K and 2 (N-1)); LogGP: Alexandrov et al., SPAA 1995; Ernest: Venkataraman
et al., NSDI 2016:

    alone(N)       = G S(N) + R(N) L
    exchange(N, b) = I + max(alone(N) - h - w backward(b), alone(N) last)

G is seconds a byte, L latency, I what the ranks of one node wait for the sum among themselves, as measured on one node (0
for one rank a node), s the standard deviation of arrivals, m(n) the mean of the largest of n standard normal numbers. The
overlap w is below 1, for Brigade moves messages on between layers only. The head start h is what leaves however long backward
takes: a window of segments, what the kernel takes in, and what a shaped link saved up while it was idle. `last` is the last
bucket's share of K: it is complete when backward is, and cannot hide. A wire format of 2 bytes halves K on its way through a ring.

The parts of a step are in the logs, and so each is fitted by itself, not the step's duration alone; runs on one and two
nodes suffice. These cannot tell a head start from a quicker link. So h is 0, unless what the links carry is given: no sum is quicker
than that, and what seems so is h. Computation in company, and how ranks scatter, are fitted apart from that on one node: messages move on the thread that computes,
which so becomes slower once, and not again with more nodes. What is not in here: switches that many nodes overload, file
systems, and nodes that are not alike.
"""
import functools
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from scipy import integrate, optimize, stats

from .exchange import WIRE_SHARE, Exchange, Sums, exchange_of
from .load import RunError
from .scaling import Measurement, group

NARROW = 0.2  # a spread below this share tells nothing of a slope


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

    def slowed(self, factor: float) -> "Compute":
        return Compute(self.data_s.slowed(factor), self.forward_s.slowed(factor), self.backward_s.slowed(factor), factor * self.rest_s,
                       self.scatter_s.slowed(factor))


@dataclass(frozen=True)
class StepModel:
    exchange: Exchange
    gradient_bytes: float  # K, as they travel
    sums: Sums  # of a step
    alone: Compute  # on one node
    together: Compute  # on several
    seconds_per_byte: float  # G
    latency_s: float  # L
    node_s: float  # I
    overlap: float  # w
    head_start_s: float  # h
    scatter: float  # relative standard deviation of a run's step about the model

    def compute(self, nodes: int) -> Compute:
        return self.alone if nodes == 1 else self.together

    def between_s(self, nodes: int) -> float:
        """The whole sum over nodes, if nothing of it were hidden."""
        return (self.seconds_per_byte * self.exchange.path_share(nodes) * self.gradient_bytes +
                self.exchange.rounds(nodes) * self.latency_s)

    def exchange_s(self, nodes: int, images: float) -> float:
        whole = self.between_s(nodes)
        return self.node_s + max(whole - self.hidden_s(nodes, images), self.sums.last_share * whole)

    def hidden_s(self, nodes: int, images: float) -> float:
        """Of the sum over nodes, what has passed when backward is over."""
        return self.head_start_s + self.overlap * self.compute(nodes).backward_s(images)

    def parts_s(self, nodes: int, images: float) -> dict[str, float]:
        """By part of the step, for this many images a node."""
        own = self.compute(nodes)
        return {"wait_data": own.data_s(images), "forward": own.forward_s(images), "backward": own.backward_s(images),
                "exchange": self.exchange_s(nodes, images), "straggler": own.scatter_s(images) * mean_of_largest(nodes * self.exchange.ranks_per_node),
                "rest": own.rest_s}

    def step_s(self, nodes: int, images: float) -> float:
        return sum(self.parts_s(nodes, images).values())

    def on_link(self, bytes_per_second: float | None, latency_s: float | None, wire: str | None = None) -> "StepModel":
        """The same program on another network, or with another wire format than that of the runs. A head start is of bytes: a
        quicker link needs less time for them."""
        if wire is None or self.exchange.algorithm != "ring":
            wire = self.sums.wire
        return replace(self, gradient_bytes=self.gradient_bytes * WIRE_SHARE[wire] / WIRE_SHARE[self.sums.wire],
                       sums=replace(self.sums, wire=wire),
                       seconds_per_byte=1 / bytes_per_second if bytes_per_second else self.seconds_per_byte,
                       head_start_s=self.head_start_s / (bytes_per_second * self.seconds_per_byte) if bytes_per_second else self.head_start_s,
                       latency_s=self.latency_s if latency_s is None else latency_s)

    def slowed(self, factor: float) -> "StepModel":
        """The same program where this many threads take turns on a processor."""
        return replace(self, alone=self.alone.slowed(factor), together=self.together.slowed(factor))


@functools.cache
def mean_of_largest(n: int) -> float:
    """Mean of the largest of n standard normal numbers: 0, 0.564, 0.846, 1.029, ..."""
    if n == 1:
        return 0.0
    return integrate.quad(lambda x: n * x * stats.norm.pdf(x) * np.exp((n - 1) * stats.norm.logcdf(x)), -8, 10)[0]


def fit(runs: list[Measurement], link_bytes_per_s: float | None = None) -> StepModel:
    """Needs runs of one network and as many ranks on each node, some of them on several nodes. `link_bytes_per_s`: what a link of
    theirs carries each way, if known."""
    several = [run for run in runs if run.nodes > 1]
    if not several:
        raise RunError("the runs are all on one node (nothing tells how quick the network is). Add a run on two nodes?")
    exchange = exchange_of_all(runs)
    gradient_bytes = float(np.median([run.wire_bytes / exchange.link_share(run.nodes) for run in several]))
    if gradient_bytes <= 0:
        raise RunError("the runs on several nodes log no byte sent. Were they written by this version?")
    single = [run for run in runs if run.nodes == 1]
    node_s = part_median(single, "exchange") if single and exchange.ranks_per_node > 1 else 0.0
    model = StepModel(exchange=exchange, gradient_bytes=gradient_bytes, sums=usual_sums(several),
                      alone=fit_compute(single or several), together=fit_compute(several), node_s=node_s,
                      **fit_network(several, exchange, gradient_bytes, node_s, link_bytes_per_s), scatter=0.0)
    residuals = [np.log(run.step_s / model.step_s(run.nodes, run.batch / run.nodes)) for run in several]
    return replace(model, scatter=float(np.sqrt(np.mean(np.square(residuals)))))


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
    return Compute(data_s=curve(runs, "wait_data"), forward_s=curve(runs, "forward"),
                   backward_s=curve(runs, "backward"), rest_s=part_median(runs, "optimizer") + part_median(runs, "other"),
                   scatter_s=curve(runs, lambda run: run.parts_s["straggler"] / mean_of_largest(run.ranks) if run.ranks > 1 else 0.0))


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


def fit_network(runs: list[Measurement], how: Exchange, gradient_bytes: float, node_s: float,
                link_bytes_per_s: float | None) -> dict[str, float]:
    """exchange - I = G sent + L rounds - h - w backward, no term negative and w at most 1, by relative errors."""
    sent = np.array([how.path_share(run.nodes) * gradient_bytes for run in runs])
    rounds = np.array([float(how.rounds(run.nodes)) for run in runs])
    backward = np.array([run.parts_s["backward"] for run in runs])
    exchange = np.maximum([run.parts_s["exchange"] - node_s for run in runs], 1e-9)
    terms = [Term("seconds_per_byte", sent)]
    known = {"latency_s": 0.0, "overlap": 0.0, "head_start_s": 0.0}
    if np.ptp(rounds) > 0:  # one node count cannot tell latency from bytes: then all is bytes
        terms.append(Term("latency_s", rounds))
    if np.ptp(backward) > NARROW * backward.max():
        terms.append(Term("overlap", -backward, most=1.0))
    else:  # one batch size cannot tell what is hidden from a quick link: the bytes handed over during backward can
        hidden = np.array([run.hidden_share for run in runs])
        known["overlap"] = float(np.clip(np.median(hidden / (1 - np.minimum(hidden, 0.9)) * exchange / backward), 0, 1))
    target = exchange + known["overlap"] * backward
    found = solve(terms, target, exchange)
    if link_bytes_per_s and found["seconds_per_byte"] * link_bytes_per_s < 1:
        at_link = 1 / link_bytes_per_s
        found = {"seconds_per_byte": at_link,
                 **solve([Term("head_start_s", -np.ones_like(sent)), *terms[1:]], target - at_link * sent, exchange)}
    return {**known, **found}


@dataclass(frozen=True)
class Term:
    """Of a sum of terms: what a factor from 0 to `most` multiplies, for each run."""
    name: str  # of the factor
    each: np.ndarray
    most: float = np.inf


def solve(terms: list[Term], target: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    """The factors that leave the least squares, in units of `scale`."""
    units = np.array([np.abs(term.each).mean() for term in terms])
    columns = np.stack([term.each / unit for term, unit in zip(terms, units)], axis=1) / scale[:, None]
    solution = optimize.lsq_linear(columns, target / scale, (0.0, [term.most * unit for term, unit in zip(terms, units)]))
    return {term.name: float(x / unit) for term, x, unit in zip(terms, solution.x, units)}


@dataclass
class Prediction:
    nodes: int
    images_per_second: float
    low: float  # 5 % and
    high: float  # 95 % quantile
    parts_s: dict[str, float]

    @property
    def step_s(self) -> float:
        return sum(self.parts_s.values())


def predict(runs: list[Measurement], nodes: list[int], batch_of, link: tuple = (None, None, None),
            link_bytes_per_s: float | None = None, draws: int = 200, seed: int = 1) -> list[Prediction]:
    """`batch_of(nodes)` is the global batch, `link` what on_link() takes, `link_bytes_per_s` what fit() does. The band is a bootstrap: the model is fitted to runs drawn with replacement
    (of each node count and batch as many as there are), and a run's own scatter is added."""
    random = np.random.default_rng(seed)
    groups = list(group(runs, lambda run: (run.nodes, run.batch)).values())
    models = []
    for _ in range(draws):
        drawn = [own[i] for own in groups for i in random.integers(0, len(own), len(own))]
        models.append(fit(drawn, link_bytes_per_s).on_link(*link))
    best = fit(runs, link_bytes_per_s)
    scatter, best = best.scatter, best.on_link(*link)
    predictions = []
    for n in nodes:
        batch = batch_of(n)
        noise = np.exp(scatter * random.standard_normal(draws))
        rates = [batch / (model.step_s(n, batch / n) * factor) for model, factor in zip(models, noise)]
        low, high = np.quantile(rates, [0.05, 0.95])
        parts = best.parts_s(n, batch / n)
        rate = batch / sum(parts.values())
        predictions.append(Prediction(n, rate, min(float(low), rate), max(float(high), rate), parts))
    return predictions
