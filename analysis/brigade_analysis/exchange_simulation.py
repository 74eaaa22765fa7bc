"""A discrete-event simulation of bucketed, overlapped sums over N nodes.

It checks the closed form of network.py with the same terms, and knows what that does not: every node's own backward, links that
carry one message at a time, buckets and slices that wait for one another.

Each node has one link, that carries messages one after another, each a latency on its way after its last byte left; while the
node's backward runs, at a part of its speed (the overlap), but for what its head start takes off the first buckets' messages.
Bucket k is complete on a node when backward has worked through the bytes before it, and the last one when it is over. It is summed
by the node's ranks, each of which owns a slice, whose sum over nodes is a list of rounds: in a round a node may send a message, and
goes on to the next round when the one it expects has arrived.
"""
import heapq
from dataclasses import dataclass, replace

import numpy as np

from .exchange import Exchange, power_of_two
from .network import Network


@dataclass(frozen=True)
class Round:
    to: int | None = None  # node
    share: float = 0.0  # of the slice
    expects: bool = True  # a message, in the same round of its sender


def schedule(algorithm: str, node: int, nodes: int) -> list[Round]:
    """The rounds of one node. Of ring: 2 (N-1) messages of 1/N to the right neighbour."""
    if algorithm == "ring":
        return [Round((node + 1) % nodes, 1 / nodes)] * (2 * (nodes - 1))
    power = power_of_two(nodes)
    levels = power.bit_length() - 1
    halving = [Round(node ^ (1 << level), 0.5 ** (level + 1)) for level in range(levels)]
    inner = halving + halving[::-1]
    if nodes == power:
        return inner
    if node >= power:  # its partner sums for it
        return [Round(node - power, 1.0, expects=False), *[Round(expects=False)] * len(inner), Round()]
    has_partner = node + power < nodes
    return [Round(expects=has_partner), *inner, Round(node + power, 1.0, False) if has_partner else Round(expects=False)]


@dataclass(frozen=True)
class SumsInFlight:
    buckets: tuple[float, ...]  # bytes, in the order in which backward completes them
    backward_s: tuple[float, ...]  # of each node
    network: Network
    exchange: Exchange = Exchange("ring")

    @property
    def nodes(self) -> int:
        return len(self.backward_s)

    @property
    def slices(self) -> int:
        return self.exchange.ranks_per_node

    def complete_s(self, node: int, bucket: int) -> float:
        """When this node has its own gradients of the bucket."""
        before_last = sum(self.buckets[:-1])
        return self.backward_s[node] * (sum(self.buckets[:bucket]) / before_last if before_last else 1.0)


class Link:
    """Of one node to the others."""

    def __init__(self, network: Network, backward_s: float):
        self.network, self.backward_s, self.head_start_s, self.free_at = network, backward_s, network.head_start_s, 0.0

    def send(self, begin: float, bytes_: float, in_time: bool) -> float:
        """When a message that begins to leave then has arrived. `in_time`: the head start counts."""
        work, overlap = bytes_ * self.network.seconds_per_byte, self.network.overlap
        if in_time:
            ahead = min(work, self.head_start_s)
            self.head_start_s, work = self.head_start_s - ahead, work - ahead
        during_backward = max(0.0, self.backward_s - begin) * overlap
        if work <= during_backward:
            self.free_at = begin + (work / overlap if work else 0.0)
        else:
            self.free_at = max(begin, self.backward_s) + work - during_backward
        return self.free_at + self.network.latency_s


def simulate(sums: SumsInFlight) -> float:
    """Seconds from the begin of backward until every node holds all sums."""
    n = sums.nodes
    if n == 1:
        return sums.backward_s[0]
    rounds = [schedule(sums.exchange.algorithm, node, n) for node in range(n)]
    links, end = [Link(sums.network, backward_s) for backward_s in sums.backward_s], max(sums.backward_s)
    begun, arrived = {}, {}  # by (bucket, slice, round, node): when the node came to the round, when its message came
    events = [(sums.complete_s(node, bucket), bucket, slice_, 0, node) for node in range(n)
              for bucket in range(len(sums.buckets)) for slice_ in range(sums.slices)]
    heapq.heapify(events)  # (when it could go on, bucket, slice, round, node); earlier buckets go first

    def go_on(key):
        """To the next round, if this one has begun and what it expects is there."""
        nonlocal end
        bucket, slice_, round_, node = key
        if key not in begun or (rounds[node][round_].expects and key not in arrived):
            return
        at = max(begun.pop(key), arrived.pop(key, 0.0))
        if round_ + 1 < len(rounds[node]):
            heapq.heappush(events, (at, bucket, slice_, round_ + 1, node))
        else:
            end = max(end, at)

    while events:
        ready, bucket, slice_, round_, node = heapq.heappop(events)
        this = rounds[node][round_]
        if this.to is not None:
            if (begin := max(ready, links[node].free_at)) > ready:  # the link is taken: later, in order
                heapq.heappush(events, (begin, bucket, slice_, round_, node))
                continue
            message = this.share * sums.buckets[bucket] / sums.slices
            arrived[bucket, slice_, round_, this.to] = links[node].send(begin, message, in_time=bucket + 1 < len(sums.buckets))
            go_on((bucket, slice_, round_, this.to))
        begun[bucket, slice_, round_, node] = ready
        go_on((bucket, slice_, round_, node))
    return end


def mean_end_after_backward(sums: SumsInFlight, draws: int, scatter_s: float, seed: int = 1) -> float:
    """Mean over nodes and draws of what a step waits for after backward, where each rank's backward scatters normally."""
    random = np.random.default_rng(seed)
    waits = []
    for _ in range(draws):
        each = np.array(sums.backward_s)[:, None] + scatter_s * random.standard_normal((sums.nodes, sums.slices))
        each = np.maximum(each, 0)
        waits.append(simulate(replace(sums, backward_s=tuple(each.max(axis=1)))) - each.mean())
    return float(np.mean(waits))
