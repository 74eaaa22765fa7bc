"""Which ranks make the others wait, and why.

All ranks leave a sum of gradients together, so a rank costs time only by arriving late at it or by passing its bytes on
slowly. For each rank, against the median of the ranks, over steady steps (of local SGD: over rounds from one average to the next),
what its arrivals are made of (causes.py).
"""
import numpy as np
import pandas as pd

from .causes import NAMES
from .scaling import Measurement

WORTH_NAMING = 0.02  # of a step


def straggler_table(measured: Measurement) -> pd.DataFrame:
    """One row a rank, those that cost most first; `cause` is empty where nothing is worth naming."""
    a = measured.analysis
    parts = {NAMES[origin]: excess(values) for origin, values in a.origins_s.items()}
    hosts = a.run.info.get("hosts") or []
    round_s = measured.step_s * a.run.sync_every
    rows = []
    for column, rank in enumerate(a.ranks):
        own = {cause: float(values[column]) for cause, values in parts.items()}
        cause = max(own, key=own.get)
        rows.append({"rank": rank, "host": hosts[rank] if rank < len(hosts) else "", "worst_s": own[cause],
                     "share_of_step": own[cause] / round_s,
                     "cause": cause if own[cause] >= WORTH_NAMING * round_s else "",
                     **{cause.replace(" ", "_") + "_s": own[cause] for cause in NAMES.values()}})
    return pd.DataFrame(rows).sort_values("worst_s", ascending=False, ignore_index=True)


def excess(values: np.ndarray) -> np.ndarray:
    """[ranks]: median over meetings of how much more a rank has than the (lower) median rank. `values`: [meetings, ranks]."""
    if len(values) == 0:
        return np.zeros(values.shape[1])
    return np.median(values - np.quantile(values, 0.5, axis=1, keepdims=True, method="lower"), axis=0)
