"""Bytes on the link of the busiest node, a step, one way: what its ranks send to other nodes, or are sent.

The step logs have what each rank sends, but not to whom. That follows from how sums were made (run.json), or from the ranks that
are parameter servers. Of MPI's own algorithm nothing is known: NaN.
"""
import numpy as np

from .exchange import Exchange, Sums
from .load import Run


def wire_bytes(run: Run, sums: Sums, sent: np.ndarray) -> float:
    """`sent`: [ranks that train], mean over steps."""
    hosts = run.info.get("hosts") or ["?"] * len(sent)
    if run.servers:
        return to_servers(sent, hosts[:len(sent)], [hosts[rank] for rank in run.servers if rank < len(hosts)])
    return of_sums(sent, hosts[:len(sent)], sums)


def of_sums(sent: np.ndarray, hosts: list[str], sums: Sums) -> float:
    """What ranks of a node sum in its memory does not count as sent. If they send messages to one another, too, only the last rank of
    a node sends to another node in a ring, and in halving and doubling ranks of the same node come first."""
    if (nodes := len(set(hosts))) < 2:
        return 0.0
    if sums.between == "mpi":
        return np.nan
    among_all = not sums.node_memory and nodes < len(hosts)
    if among_all and sums.between == "halving-doubling":
        halving = Exchange(sums.between)
        return float(np.sum(sent) / len(hosts) * halving.link_share(nodes) / halving.link_share(len(hosts)))
    over_node = np.max if among_all and sums.between == "ring" else np.sum
    return float(max(over_node([bytes_ for bytes_, at in zip(sent, hosts) if at == host]) for host in set(hosts)))


def to_servers(pushed: np.ndarray, workers: list[str], servers: list[str]) -> float:
    """Each server has an equal range of the weights; what is pulled from it is as large as what is pushed to it."""
    if not servers:
        return 0.0
    at_host = {host: servers.count(host) / len(servers) for host in {*workers, *servers}}  # share of the weights
    leaves = {host: sum(bytes_ for bytes_, at in zip(pushed, workers) if at == host) * (1 - share) for host, share in at_host.items()}
    comes = {host: sum(bytes_ for bytes_, at in zip(pushed, workers) if at != host) * share for host, share in at_host.items()}
    return float(max(*leaves.values(), *comes.values()))
