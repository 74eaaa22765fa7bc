"""Which ranks make the others wait, and why.

All ranks leave a sum of gradients together, so a rank costs time only by arriving late at it or by passing its bytes on
slowly. For each rank, against the median of the ranks, over typical steps (of local SGD: over rounds from one average to the next):

    slow data      it waits longer for its batch
    slow compute   its forward and backward take longer
    slow network   it leaves the sum later: the bytes of its neighbour reach it late
    late begin     it begins its step later: its optimizer, or what is between steps, takes longer
"""
import numpy as np
import pandas as pd

from .scaling import Measurement, logged

CAUSES = ("slow compute", "slow data", "slow network", "late begin")
WORTH_NAMING = 0.02  # of a step


def straggler_table(measured: Measurement) -> pd.DataFrame:
    """One row a rank, those that cost most first; `cause` is empty where nothing is worth naming."""
    a = measured.analysis
    rounds = a.steps[a.steady] // a.run.sync_every

    def excess(values, of_round="sum"):
        """Median over steady rounds of how much more a rank has than the (lower) median rank."""
        values = pd.DataFrame(values[a.steady]).groupby(rounds).agg(of_round).to_numpy()
        return np.median(values - np.quantile(values, 0.5, axis=1, keepdims=True, method="lower"), axis=0)

    leaves = logged(a, "reduce_arrive_s") + a.phases["reduce_wait"]
    parts = {"slow compute": excess(a.phases["forward"] + a.phases["backward"]), "slow data": excess(a.phases["wait_data"]),
             "slow network": excess(leaves, "last"), "late begin": excess(logged(a, "start_s"), "first")}
    hosts = a.run.info.get("hosts") or []
    round_s = measured.step_s * a.run.sync_every
    rows = []
    for column, rank in enumerate(a.ranks):
        own = {cause: float(values[column]) for cause, values in parts.items()}
        cause = max(CAUSES, key=own.get)
        rows.append({"rank": rank, "host": hosts[rank] if rank < len(hosts) else "", "worst_s": own[cause],
                     "share_of_step": own[cause] / round_s,
                     "cause": cause if own[cause] >= WORTH_NAMING * round_s else "",
                     **{cause.replace(" ", "_") + "_s": own[cause] for cause in CAUSES}})
    return pd.DataFrame(rows).sort_values("worst_s", ascending=False, ignore_index=True)
