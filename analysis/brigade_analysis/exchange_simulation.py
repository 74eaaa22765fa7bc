"""A discrete-event simulation of bucketed, overlapped sums over N nodes.

It checks the closed form of step_model.py, and knows what that does not: every node's own backward, links that carry one
message at a time, buckets and slices that wait for one another.

Each node has one link, that carries messages one after another, each `latency_s` on its way after its last byte left.
Bucket k is complete on a node when a share of its backward is done, and then summed among the node's ranks. Each of these
owns a slice, whose sum over nodes is a list of rounds: in a round a node may send a message, and goes on to the next round
when the one it expects has arrived. When the last round is over, the node's ranks gather the slices.
"""
import heapq
from dataclasses import dataclass, replace

import numpy as np

from .exchange import Exchange, power_of_two


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
    backward_s: tuple[float, ...]  # of each node; bucket k of n is complete at (k + 1) / n of it, by bytes
    seconds_per_byte: float
    latency_s: float
    overlap: float = 1.0  # speed of a node's link while its backward runs, of the full one
    exchange: Exchange = Exchange("ring")
    node_seconds_per_byte: float = 0.0  # of the sum among the ranks of a node: half of it before, half after the rounds

    @property
    def nodes(self) -> int:
        return len(self.backward_s)

    @property
    def slices(self) -> int:
        return self.exchange.ranks_per_node

    def complete_s(self, node: int, bucket: int) -> float:
        """When this node has its own gradients of the bucket: backward works through the bytes evenly."""
        return self.backward_s[node] * sum(self.buckets[:bucket + 1]) / sum(self.buckets)

    def within_s(self, bucket: int) -> float:
        """Half of what the ranks of a node need to sum the bucket."""
        return self.node_seconds_per_byte * self.buckets[bucket] / 2

    def sent_s(self, node: int, begin: float, size: float) -> float:
        """When a message that this node begins to send then has left."""
        work = size * self.seconds_per_byte
        during_backward = max(0.0, self.backward_s[node] - begin) * self.overlap
        return begin + work / self.overlap if work < during_backward else max(begin, self.backward_s[node]) + work - during_backward


def simulate(sums: SumsInFlight) -> float:
    """Seconds from the begin of backward until every node holds all sums."""
    n = sums.nodes
    if n == 1:
        return sums.backward_s[0] + 2 * sums.within_s(len(sums.buckets) - 1)
    rounds = [schedule(sums.exchange.algorithm, node, n) for node in range(n)]
    link_free, end = [0.0] * n, max(sums.backward_s)
    begun, arrived = {}, {}  # by (bucket, slice, round, node): when the node came to the round, when its message came
    events = [(sums.complete_s(node, bucket) + sums.within_s(bucket), bucket, slice_, 0, node) for node in range(n)
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
            end = max(end, at + sums.within_s(bucket))

    while events:
        ready, bucket, slice_, round_, node = heapq.heappop(events)
        this = rounds[node][round_]
        if this.to is not None:
            if (begin := max(ready, link_free[node])) > ready:  # the link is taken: later, in order
                heapq.heappush(events, (begin, bucket, slice_, round_, node))
                continue
            link_free[node] = sums.sent_s(node, begin, this.share * sums.buckets[bucket] / sums.slices)
            arrived[bucket, slice_, round_, this.to] = link_free[node] + sums.latency_s
            go_on((bucket, slice_, round_, this.to))
        begun[bucket, slice_, round_, node] = ready
        go_on((bucket, slice_, round_, node))
    return end


def closed_form(sums: SumsInFlight) -> float:
    """The same where all nodes are alike, links are at full speed, and a bucket is summed before the next one begins."""
    n, end = sums.nodes, 0.0
    path, rounds = sums.exchange.path_share(n), sums.exchange.rounds(n)
    for bucket, size in enumerate(sums.buckets):
        end = max(end, sums.complete_s(0, bucket) + sums.within_s(bucket))
        end += path * size * sums.seconds_per_byte + rounds * sums.latency_s + sums.within_s(bucket)
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
