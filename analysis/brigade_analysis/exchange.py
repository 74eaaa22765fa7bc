"""What a sum of K bytes over N nodes of k ranks costs the wire: bytes on a node's link, and rounds of one latency each.

    ring                 every rank passes N k - 1 parts on, twice; one rank of a node sends to the next node
    hierarchical ring    ranks of a node sum among themselves, each owns a slice of K / k, and the k slices go around N nodes
    halving-doubling     log2 P exchanges of K/2, K/4, ..., and the same backwards, with P the largest power of two of nodes;
                         the other N - P nodes first add theirs to one of these, and are given the sum (Rabenseifner 2004)

Which of these a run took is what src/communication/allreduce.cpp chooses.
"""
import math
from dataclasses import dataclass

SHORT_BYTES = 64 << 10  # up to here `automatic` and `hierarchical` exchange by halving and doubling
WIRE_SHARE = {"fp32": 1.0, "bf16": 0.5, "fp16": 0.5}  # of the bytes of floats


@dataclass(frozen=True)
class Exchange:
    algorithm: str  # between nodes: "ring", "halving-doubling"
    ranks_per_node: int = 1
    flat: bool = False  # a ring through all ranks, instead of one of nodes for each slice

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
        return f"{'hierarchical ' if each and not self.flat else ''}{self.algorithm}{each}"


def power_of_two(n: int) -> int:
    """The largest that is not above n."""
    return 1 << (n.bit_length() - 1)


def exchange_of(allreduce: str, ranks_per_node: int, bucket_bytes: float) -> Exchange | None:
    """As --allreduce says; None for MPI's own algorithm, which only MPI knows."""
    if allreduce == "ring":
        return Exchange("ring", ranks_per_node, flat=ranks_per_node > 1)
    if allreduce == "halving-doubling":
        return Exchange("halving-doubling", ranks_per_node)
    if allreduce in ("automatic", "hierarchical", ""):
        short = bucket_bytes / ranks_per_node <= SHORT_BYTES
        return Exchange("halving-doubling" if short else "ring", ranks_per_node)
    return None
