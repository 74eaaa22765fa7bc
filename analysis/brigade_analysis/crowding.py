"""Whether ranks had processors of their own, from where run.json says they ran.

Network namespaces and containers are hosts of one machine, and ranks on it share its processors. With more threads than
processors, everything that computes takes longer, and adding "nodes" of this kind adds nothing that could compute.
"""
from dataclasses import dataclass

from .load import Run


@dataclass(frozen=True)
class Crowding:
    threads: int = 0  # on the machine where they are most for its processors; 0: not known
    processors: int = 0
    hosts: int = 1  # on that machine

    @property
    def factor(self) -> float:
        """How many threads take turns on a processor; 1 where each has its own, or nothing is known."""
        return max(1.0, self.threads / self.processors) if self.processors else 1.0


def crowding_of(run: Run, ranks: int) -> Crowding:
    """Of the ranks that train; servers wait most of the time."""
    machines, processors = run.info.get("machines") or [], run.info.get("processors") or []
    hosts, threads = run.info.get("hosts") or [], int(run.number("threads_per_rank", 1))
    if min(len(machines), len(processors), len(hosts)) < ranks:
        return Crowding()
    found = []
    for machine in set(machines[:ranks]):
        own = [rank for rank in range(ranks) if machines[rank] == machine]
        shared = set().union(*(processors_in(processors[rank]) for rank in own))
        found.append(Crowding(threads * len(own), len(shared), len({hosts[rank] for rank in own})))
    return max(found, key=lambda one: one.factor)


def processors_in(ranges: str) -> set[int]:
    """'0-2,8' -> {0, 1, 2, 8}"""
    found: set[int] = set()
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
