"""What a sum of K bytes over N nodes of k ranks costs the wire: bytes on a node's link, and rounds of one latency each.

    ring                 every rank passes N k - 1 parts on, twice; one rank of a node sends to the next node
    hierarchical ring    ranks of a node sum among themselves, each owns a slice of K / k, and the k slices go around N nodes
    halving-doubling     log2 P exchanges of K/2, K/4, ..., and the same backwards, with P the largest power of two of nodes;
                         the other N - P nodes first add theirs to one of these, and are given the sum (Rabenseifner 2004)

Which of these a run took, and the bytes of each of its sums, are in run.json; and where that was chosen by bytes and nodes, the
table by which it was, for it says what other numbers of nodes would take.
"""
import math
from dataclasses import dataclass, replace

from .load import Run, RunError

WIRE_SHARE = {"fp32": 1.0, "bf16": 0.5, "fp16": 0.5}  # of the bytes of floats


@dataclass(frozen=True)
class Exchange:
    algorithm: str  # between nodes: "ring", "halving-doubling"
    ranks_per_node: int = 1
    flat: bool = False  # a ring through all ranks, instead of one of nodes for each slice
    choice: tuple[tuple[int, float], ...] = ()  # (nodes, bytes of a sum up to which so many take halving-doubling), ascending
    sum_bytes: float = 0.0  # of most of the sums, for which that is asked

    def at(self, nodes: int) -> "Exchange":
        """As this number of nodes does it."""
        if nodes < 2 or not self.choice:
            return self
        up_to = [bytes_ for known, bytes_ in self.choice if known <= nodes] or [self.choice[0][1]]
        return replace(self, algorithm="halving-doubling" if self.sum_bytes <= up_to[-1] else "ring")

    def link_share(self, nodes: int) -> float:
        """Of the summed bytes, those which the busiest node's link carries each way."""
        if nodes == 1:
            return 0.0
        if self.algorithm == "ring":
            parts = nodes * self.ranks_per_node if self.flat else nodes
            return 2 * (parts - 1) / parts
        power = power_of_two(nodes)
        return 2 * (power - 1) / power + (1 if nodes > power else 0)

    def path_share(self, nodes: int) -> float:
        """Of the summed bytes, those that are sent one after another until all nodes are done."""
        folds = self.algorithm == "halving-doubling" and nodes > power_of_two(nodes)
        return self.link_share(nodes) + (1 if folds else 0)

    def rounds(self, nodes: int) -> int:
        """Messages one after another, between nodes or (flat) ranks."""
        if nodes == 1:
            return 0
        if self.algorithm == "ring":
            return 2 * ((nodes * self.ranks_per_node if self.flat else nodes) - 1)
        power = power_of_two(nodes)
        return 2 * int(math.log2(power)) + (2 if nodes > power else 0)

    @property
    def name(self) -> str:
        each = f" of {self.ranks_per_node} ranks a node" if self.ranks_per_node > 1 else ""
        chosen = " (by bytes and nodes)" if self.choice else ""
        return f"{'hierarchical ' if each and not self.flat else ''}{self.algorithm}{chosen}{each}"


def power_of_two(n: int) -> int:
    """The largest that is not above n."""
    return 1 << (n.bit_length() - 1)


@dataclass(frozen=True)
class Sums:
    """Those of a step, as run.json has them: how most of the bytes go, and the bytes of each in the order of their beginning."""
    between: str = ""  # algorithm of messages between nodes (without node_memory: ranks); "": none are sent
    node_memory: bool = False  # ranks of a node add in shared memory
    wire: str = ""
    bytes_: tuple[float, ...] = ()
    choice: tuple[tuple[int, float], ...] = ()  # of `between`, see Exchange; empty: it does not depend on bytes and nodes

    @property
    def total_bytes(self) -> float:
        return sum(self.bytes_)

    @property
    def wire_bytes(self) -> float:
        """As they travel between nodes."""
        return self.total_bytes * WIRE_SHARE.get(self.wire, 1.0)

    @property
    def usual_bytes(self) -> float:
        """Of the sum that half of the bytes are in sums no larger than."""
        ascending = sorted(self.bytes_)
        return next((one for i, one in enumerate(ascending) if sum(ascending[:i + 1]) >= self.total_bytes / 2), 0.0)

    @property
    def last_share(self) -> float:
        """Of the bytes, those whose sum begins when backward is over."""
        return self.bytes_[-1] / self.total_bytes if self.bytes_ else 1.0


def sums_of(run: Run) -> Sums:
    routes: dict[tuple, float] = {}
    for one in (listed := run.info.get("sums") or []):
        route = str(one["between"]), bool(one["node_memory"]), str(one["wire"])
        routes[route] = routes.get(route, 0.0) + one["bytes"]
    table = run.info.get("allreduce_table")
    rows = [table, *table["others"]] if table else []
    choice = tuple(sorted((int(row["nodes"]), float(row["halving_doubling_up_to_bytes"])) for row in rows))
    return Sums(*max(routes, key=routes.get, default=("", False, "")), tuple(float(one["bytes"]) for one in listed), choice)


def exchange_of(sums: Sums, ranks_per_node: int) -> Exchange:
    """Of a run on several nodes."""
    if sums.between not in ("ring", "halving-doubling"):
        raise RunError(f"the runs sum by {sums.between} (nobody but MPI knows how). Run with ring, halving-doubling or hierarchical?"
                       if sums.between else "run.json of the runs lists no sums over ranks in every step (parameter servers make none, "
                       "and versions before did not list them). Give other runs?")
    flat = sums.between == "ring" and ranks_per_node > 1 and not sums.node_memory
    choice = () if flat else sums.choice
    return Exchange(sums.between, ranks_per_node, flat, choice, sums.usual_bytes if choice else 0.0)
