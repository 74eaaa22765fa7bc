"""How much of a sum over nodes is not hidden behind backward: four terms, fitted to runs.

    alone   = G sent + R L                                  seconds a byte times bytes, rounds times latency
    exposed = max(alone - h - w backward, G last + R L)

LogGP (Alexandrov et al., SPAA 1995) without its overheads. The overlap w is below 1, for Brigade moves messages on between layers
only. The head start h is what leaves however long backward takes: a window of segments, what the kernel takes in, what a shaped
link saved up while it was idle. The last bucket is complete when backward is: its bytes and its rounds cannot hide.

Runs on one and two nodes cannot tell a head start from a quicker link, so h is 0, unless what the links carry is given: no sum is
quicker than that, and what seems so is h. Nor can one number of nodes beyond one tell latency from bytes: then L is what preflight
measured between nodes, or 0.
"""
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

EQUAL_DIGITS = 4  # of a misfit in shares of a step: the logs say no more
NARROW = 0.2  # a spread below this share tells nothing of a slope


@dataclass(frozen=True)
class Network:
    seconds_per_byte: float  # G
    latency_s: float = 0.0  # L, of a round
    overlap: float = 0.0  # w, from 0 to 1
    head_start_s: float = 0.0  # h

    def alone_s(self, sent, rounds):
        return self.seconds_per_byte * sent + self.latency_s * rounds

    def exposed_s(self, sent, rounds, last_share, backward_s):
        """`last_share`: of the bytes sent, those of the last bucket."""
        hidden = self.head_start_s + self.overlap * backward_s
        return np.maximum(self.alone_s(sent, rounds) - hidden, self.alone_s(last_share * sent, rounds))

    def on_link(self, bytes_per_s: float | None, latency_s: float | None) -> "Network":
        """None: as it is. A head start is of bytes: a quicker link needs less time for them."""
        faster = bytes_per_s * self.seconds_per_byte if bytes_per_s else 1.0
        return replace(self, seconds_per_byte=self.seconds_per_byte / faster, head_start_s=self.head_start_s / faster,
                       latency_s=self.latency_s if latency_s is None else latency_s)


@dataclass(frozen=True)
class Exchanges:
    """What was measured, an element a run."""
    sent: np.ndarray  # bytes one after another on a node's link
    rounds: np.ndarray
    last_share: np.ndarray
    backward_s: np.ndarray
    exposed_s: np.ndarray
    step_s: np.ndarray
    hidden_share: np.ndarray  # of the bytes, those handed over before backward ended
    latency_s: float  # of a message between nodes, as measured apart from the sums; NaN: it was not

    def misfits(self, network: Network) -> np.ndarray:
        """Shares of the step."""
        return (network.exposed_s(self.sent, self.rounds, self.last_share, self.backward_s) - self.exposed_s) / self.step_s

    @property
    def tell_latency(self) -> bool:
        return np.ptp(self.rounds) > 0

    @property
    def tell_overlap(self) -> bool:
        return np.ptp(self.backward_s) > NARROW * self.backward_s.max()


def fit_network(runs: Exchanges, link_bytes_per_s: float | None = None) -> Network:
    """`link_bytes_per_s`: what a link of theirs carries each way, if known."""
    known = {} if runs.tell_latency else {"latency_s": float(np.nan_to_num(runs.latency_s))}
    if not runs.tell_overlap:  # one batch size cannot tell what is hidden from a quick link: the bytes handed over can
        hidden = np.minimum(runs.hidden_share, 0.9)
        known["overlap"] = float(np.clip(np.median(hidden / (1 - hidden) * runs.exposed_s / runs.backward_s), 0, 1))
    found = best(runs, {"head_start_s": 0.0, **known})
    if link_bytes_per_s and found.seconds_per_byte * link_bytes_per_s < 1:
        found = best(runs, {"seconds_per_byte": 1 / link_bytes_per_s, **known})
    return found


def best(runs: Exchanges, known: dict[str, float]) -> Network:
    """By least squares over the terms that are not known. Linear, once it is said which runs hide all but their last bucket: those
    with the longest backward for what they send before, of which each number is tried. Of equal ones the least counts (few runs may
    be explained either way)."""
    order = np.argsort(-runs.backward_s / np.maximum(runs.sent * (1 - runs.last_share), 1e-9), kind="stable")
    found = [solve(runs, known, order[:count]) for count in range(len(order) + 1)]
    return min(found, key=lambda network: round(float(np.sqrt(np.mean(np.square(runs.misfits(network))))), EQUAL_DIGITS))


def solve(runs: Exchanges, known: dict[str, float], all_hidden: np.ndarray) -> Network:
    """`all_hidden`: the runs that hide all but their last bucket."""
    terms = {"seconds_per_byte": runs.sent.copy(), "latency_s": runs.rounds, "overlap": -runs.backward_s,
             "head_start_s": -np.ones_like(runs.sent)}
    terms["seconds_per_byte"][all_hidden] *= runs.last_share[all_hidden]
    for name in ("overlap", "head_start_s"):
        terms[name][all_hidden] = 0.0
    sought = [name for name in terms if name not in known]
    units = [max(np.abs(terms[name]).mean(), 1e-300) for name in sought]
    target = runs.exposed_s - sum(value * terms[name] for name, value in known.items())
    columns = np.stack([terms[name] / unit for name, unit in zip(sought, units)], axis=1) / runs.step_s[:, None]
    most = [unit if name == "overlap" else np.inf for name, unit in zip(sought, units)]
    solution = optimize.lsq_linear(columns, target / runs.step_s, (0.0, most))
    return Network(**known, **{name: float(x / unit) for name, x, unit in zip(sought, solution.x, units)})
