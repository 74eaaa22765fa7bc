"""Why a rank arrives at a sum when it does. Its arrival is a sum itself:

    left the sum before  +  until its step began  +  wait for data  +  forward and backward
    (network)               (between steps)          (data)            (compute)

so what one rank has more of than the others is why it is late. All ranks leave a sum together, but for one that its neighbour's
bytes reach late: a slow link, or a rank that passes bytes on slowly. Between steps are the optimizer, logs and checkpoints.
"""
import numpy as np

NAMES = {"network": "slow network", "between steps": "late begin", "data": "slow data", "compute": "slow compute"}


def origins(start_s: np.ndarray, leave_s: np.ndarray, phases: dict[str, np.ndarray], follows: np.ndarray) -> dict[str, np.ndarray]:
    """[steps, ranks] each, with the keys of NAMES. `follows`: [steps - 1], whether a step came right after the one before; else all
    ranks count as having left together."""
    before = np.repeat(start_s.min(axis=1, keepdims=True), start_s.shape[1], axis=1)
    before[1:][follows] = leave_s[:-1][follows]
    return {"network": before, "between steps": start_s - before, "data": phases["wait_data"],
            "compute": phases["forward"] + phases["backward"]}


def until_meetings(parts: dict[str, np.ndarray], met: np.ndarray) -> dict[str, np.ndarray]:
    """[meetings, ranks]: of all steps since the meeting before. `met`: [steps], whether ranks met at the end of a step."""
    ends = np.flatnonzero(met)
    begins = np.r_[0, ends[:-1] + 1][:len(ends)]
    through = {name: np.add.reduceat(values[:ends[-1] + 1], begins, axis=0) if len(ends) else values[:0]
               for name, values in parts.items()}
    return {**through, "network": parts["network"][begins]}
