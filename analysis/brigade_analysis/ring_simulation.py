"""A discrete-event simulation of the bucketed, overlapped ring allreduce over N ranks.

It checks the closed form of ring_model.py, and knows what that does not: every rank's own backward, links that carry one
message at a time, buckets that wait for one another.

Rank r has one link, to rank r + 1, that carries messages one after another, each `latency_s` on its way after its last
byte left. Bucket k is complete on rank r when a share of its backward is done. It is summed in 2 (N-1) rounds; in round t
rank r sends one N-th of it, as soon as it has what arrived in round t - 1 (and its own gradients), and the link is free.
"""
import heapq
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Ring:
    buckets: tuple[float, ...]  # bytes, in the order in which backward completes them
    backward_s: tuple[float, ...]  # of each rank; bucket k of n is complete at (k + 1) / n of it, by bytes
    seconds_per_byte: float
    latency_s: float
    overlap: float = 1.0  # speed of a rank's link while its backward runs, of the full one

    @property
    def ranks(self) -> int:
        return len(self.backward_s)

    def complete_s(self, rank: int, bucket: int) -> float:
        """When this rank has its own gradients of the bucket: backward works through the bytes evenly."""
        return self.backward_s[rank] * sum(self.buckets[:bucket + 1]) / sum(self.buckets)


    def sent_s(self, rank: int, begin: float, size: float) -> float:
        """When a message that this rank begins to send then has left."""
        work = size * self.seconds_per_byte
        during_backward = max(0.0, self.backward_s[rank] - begin) * self.overlap
        return begin + work / self.overlap if work < during_backward else max(begin, self.backward_s[rank]) + work - during_backward


def simulate(ring: Ring) -> float:
    """Seconds from the begin of backward until every rank holds all sums."""
    n, rounds = ring.ranks, 2 * (ring.ranks - 1)
    if n == 1:
        return ring.backward_s[0]
    link_free = [0.0] * n
    end = max(ring.backward_s)
    events = [(ring.complete_s(rank, bucket), bucket, 0, rank) for rank in range(n) for bucket in range(len(ring.buckets))]
    heapq.heapify(events)  # (when it could be sent, bucket, round, sender); earlier buckets go first
    while events:
        ready, bucket, round_, rank = heapq.heappop(events)
        begin = max(ready, link_free[rank])
        if begin > ready:  # the link is taken: later, in order
            heapq.heappush(events, (begin, bucket, round_, rank))
            continue
        link_free[rank] = ring.sent_s(rank, begin, ring.buckets[bucket] / n)
        at = link_free[rank] + ring.latency_s
        right = (rank + 1) % n
        end = max(end, at)
        if round_ + 1 < rounds:  # passed on as soon as its receiver has its own part, too
            heapq.heappush(events, (max(at, ring.complete_s(right, bucket)), bucket, round_ + 1, right))
    return end


def closed_form(ring: Ring) -> float:
    """The same where all ranks are alike, links are at full speed, and a bucket is summed before the next one begins."""
    n, end = ring.ranks, 0.0
    if n == 1:
        return ring.backward_s[0]
    for bucket, size in enumerate(ring.buckets):
        end = max(end, ring.complete_s(0, bucket)) + 2 * (n - 1) * (size / n * ring.seconds_per_byte + ring.latency_s)
    return end


def mean_end_after_backward(ring: Ring, draws: int, scatter_s: float, seed: int = 1) -> float:
    """Mean over ranks and draws of what a step waits for after backward, where each rank's backward scatters normally."""
    random = np.random.default_rng(seed)
    waits = []
    for _ in range(draws):
        backward = np.maximum(np.array(ring.backward_s) + scatter_s * random.standard_normal(ring.ranks), 0)
        waits.append(simulate(replace(ring, backward_s=tuple(backward))) - backward.mean())
    return float(np.mean(waits))
