"""Parameter servers: how busy they are, and how stale the gradients of asynchronous workers.

A server's log has a row for each update of its weights (docs/formats.md). A gradient is s updates stale if others updated
the weights s times between those it was computed with and those it changed.
"""
import numpy as np
import pandas as pd

from .aggregate import Analysis
from .load import Run
from .words import digits, percent, seconds, times

BUSY = 0.7  # of its time: a server that works so much makes workers wait


def server_table(run: Run) -> pd.DataFrame:
    """One row a server; medians are over updates."""
    hosts, rows = run.info.get("hosts") or [], []
    for rank, log in run.servers.items():
        busy_s = log["step_s"] - log["reduce_wait_s"]
        rows.append({"rank": rank, "host": hosts[rank] if rank < len(hosts) else "", "updates": len(log),
                     "updates_per_second": 1 / np.median(np.diff(log["start_s"])) if len(log) > 1 else np.nan,
                     "median_wait_s": np.median(log["reduce_wait_s"]), "median_update_s": np.median(log["optimizer_s"]),
                     "median_answer_s": np.median(busy_s - log["optimizer_s"]),
                     "busy_share": np.median(busy_s / log["step_s"]), "sent_bytes": int(log["sent_bytes"].sum()),
                     "peak_rss_bytes": int(log["peak_rss_bytes"].max())})
    return pd.DataFrame(rows)


def staleness_counts(run: Run) -> np.ndarray:
    """Element s: gradients of all workers that were s updates stale. Empty unless workers are asynchronous."""
    if not run.asynchronous:
        return np.zeros(0, int)
    return np.bincount(np.concatenate([log["staleness"].to_numpy(int) for log in run.ranks.values()]))


def quantile(counts: np.ndarray, share: float) -> int:
    """The least staleness that this share of the gradients does not exceed."""
    return int(np.searchsorted(np.cumsum(counts), share * counts.sum()))


def about_servers(a: Analysis) -> list[str]:
    """Sentences; none where there are no servers."""
    if not a.run.servers:
        return []
    busiest = server_table(a.run).sort_values("busy_share").iloc[-1]
    text = (f"{times(len(a.run.servers), 'parameter server')}: rank {busiest['rank']} is busy for {percent(busiest['busy_share'])} "
            f"of an update (adding and updating {seconds(busiest['median_update_s'])}, answering {seconds(busiest['median_answer_s'])})")
    text += ": workers wait for it. Use more --servers?" if busiest["busy_share"] >= BUSY else "."
    counts = staleness_counts(a.run)
    if not counts.sum():
        return [text]
    mean = (np.arange(len(counts)) * counts).sum() / counts.sum()
    return [text, f"Gradients were {digits(mean)} updates stale on average, {quantile(counts, 0.5)} in the middle, at most "
                  f"{quantile(counts, 0.95)} for 95 % of them and {len(counts) - 1} for all."]
