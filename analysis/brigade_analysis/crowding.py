"""Whether ranks had processors of their own, from where run.json says they ran.

Network namespaces and containers are hosts of one machine, and ranks on it share its processors. With more threads than
processors, everything that computes takes longer, and adding "nodes" of this kind adds nothing that could compute. Unless each
host has a share of its own: ranks that a control group limits take no more than that, however many hosts there are. What sets
one processor apart from another, hosts that share it have in common (imbalance.py).
"""
import math
from dataclasses import dataclass, replace

from .load import Run


@dataclass(frozen=True)
class Crowding:
    threads: int = 0  # on the machine where they are most for its processors; 0: not known
    processors: int = 0
    hosts: int = 1  # on that machine
    limit: float = math.inf  # processors' worth of time that its hosts may use together
    places: int = 0  # on all machines, that can differ in speed: ranks, or processors where ranks share these; 0: not known

    @property
    def factor(self) -> float:
        """How many threads take turns on a processor; 1 where each has its own, its host's share is kept, or nothing is known."""
        return max(1.0, min(self.threads, self.limit) / self.processors) if self.processors else 1.0


def crowding_of(run: Run, ranks: int) -> Crowding:
    """Of the ranks that train; servers wait most of the time."""
    machines, processors = run.info.get("machines") or [], run.info.get("processors") or []
    hosts, threads = run.info.get("hosts") or [], int(run.number("threads_per_rank", 1))
    if min(len(machines), len(processors), len(hosts)) < ranks:
        return Crowding()
    limits = [math.inf if limit is None else float(limit) for limit in run.info.get("processor_limits") or [None] * len(hosts)]
    found, places = [], 0
    for machine in set(machines[:ranks]):
        own = [rank for rank in range(ranks) if machines[rank] == machine]
        shared = set().union(*(processors_in(processors[rank]) for rank in own))
        on_host = {host: [rank for rank in own if hosts[rank] == host] for host in {hosts[rank] for rank in own}}
        limit = sum(min(limits[rank] for rank in ranks_there) for ranks_there in on_host.values())
        found.append(Crowding(threads * len(own), len(shared), len(on_host), limit))
        places += min(len(own), max(1, len(shared) // threads))
    return replace(max(found, key=lambda one: one.factor), places=places)


def processors_in(ranges: str) -> set[int]:
    """'0-2,8' -> {0, 1, 2, 8}"""
    found: set[int] = set()
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
