"""Numbers over ranks and steps: where the time went, who is late, how fast training is.

All ranks leave a sum of gradients together, so a step takes as long as its slowest rank. What the others lose shows
in their `reduce_wait_s`, which is split here by the ranks' common clock:

    rank 0   |--data--|--forward--|--backward--|..straggler..|=exchange=|--optimizer--|
    rank 1   |--data--|--forward--|---------backward---------|=exchange=|--optimizer--|
                                               ^ arrives     ^ arrives last

    straggler = min(reduce_wait, last arrival - own arrival)    the sum could not end: a rank was not there yet
    exchange  = reduce_wait - straggler                         bytes on their way, not hidden by backward
    other     = step - all phases                               clocks, logs, checks

Workers of asynchronous parameter servers wait for these only: all of their wait is exchange. With local SGD ranks meet where
weights are averaged, and only there can one be late.

Medians and means leave out the first steps after each start (`warm_up_steps`): memory is touched for the first time,
and caches and files are cold. Shares are sums over steps, for means add up and medians do not.
"""
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .causes import origins, until_meetings
from .load import Run, RunError

PHASES = ("wait_data", "forward", "backward", "straggler", "exchange", "optimizer", "other")
COMPUTE = ("forward", "backward", "optimizer")
WARM_UP_STEPS, WARM_UP_SHARE = 10, 5  # at most so many steps, at most one in so many
CLEARLY_OFTEN, CLEARLY_LATE = 1.5, 0.01  # times what chance gives; share of a step
GRID_COLUMNS = ("start_s", "wait_data_s", "forward_s", "backward_s", "reduce_wait_s", "optimizer_s", "reduce_arrive_s",
                "step_s", "images")


@dataclass
class Straggler:
    """The rank that most often arrives last at the sum of gradients."""
    rank: int
    last_share: float  # of steady steps in which it was last
    delay_s: float  # median, in those steps, of its arrival after the median of the other ranks
    cost_share: float  # of the time of all steady steps, if it arrived with the next to last instead
    lag_s: float  # the same over all steady steps; negative if it is usually earlier than the others
    excess_s: dict[str, float]  # the delay by its origin, see causes.py
    named: bool  # late often enough and long enough to be called slow

    @property
    def cause(self) -> str:
        return max(self.excess_s, key=self.excess_s.get)


@dataclass
class Analysis:
    run: Run
    ranks: list[int]
    steps: np.ndarray  # [steps], those that all ranks logged
    epoch: np.ndarray  # [steps]
    session: np.ndarray  # [steps], 0 for the first start, 1 after the first resume, ...
    steady: np.ndarray  # [steps], False in the warm-up
    met: np.ndarray  # [steps], steady ones in which ranks waited for one another
    elapsed_s: np.ndarray  # [steps], when the step began; over resumes
    period_s: np.ndarray  # [steps], from this step's begin to the next one's
    images_per_second: np.ndarray  # [steps], all ranks
    phases: dict[str, np.ndarray]  # seconds, [steps, ranks], of PHASES and "reduce_wait", "step"
    lateness_s: np.ndarray  # [steps, ranks], arrival after that of the first rank
    origins_s: dict[str, np.ndarray]  # [meetings, ranks], what arrivals at steady ones are made of, see causes.py
    straggler: Straggler | None  # None where nobody waits for another rank
    notes: list[str]

    def share(self, *phases: str) -> float:
        """Of the time of all steady steps over all ranks, what these phases took."""
        return sum(self.phases[p][self.steady].sum() for p in phases) / self.phases["step"][self.steady].sum()

    def mean_s(self, phase: str) -> np.ndarray:
        """[ranks], over steady steps."""
        return self.phases[phase][self.steady].mean(axis=0)

    def over_ranks(self, phase: str) -> np.ndarray:
        """[3, steps]: minimum, median and maximum over ranks of each step."""
        values = self.phases[phase]
        return np.stack([values.min(axis=1), np.median(values, axis=1), values.max(axis=1)])

    @property
    def warm_up_steps(self) -> int:
        return int((~self.steady).sum())

    @property
    def median_images_per_second(self) -> float:
        return float(np.nanmedian(self.images_per_second[self.steady]))


def analyse(run: Run) -> Analysis:
    ranks, steps, epoch, grid, notes = align(run)
    session = np.concatenate([[0], np.cumsum(np.diff(grid["start_s"][:, 0]) < 0)])
    if session[-1] > 0:
        notes.append(f"The run was resumed {int(session[-1])} time{'s' if session[-1] > 1 else ''}: plots show all "
                     "starts one after another, start-up and total time are those of the latest one.")
    phases = split_phases(grid, run.asynchronous)
    follows = (np.diff(session) == 0) & (np.diff(epoch) == 0) & (np.diff(steps) == 1)
    elapsed_s, period_s = clock(grid, session, follows)
    images = run.number("global_batch") or grid["images"].sum(axis=1)
    steady = steady_steps(session)
    met = steady & meetings(run, steps)
    arrive = grid["reduce_arrive_s"]
    parts = origins(grid["start_s"], arrive + phases["reduce_wait"], phases, follows)
    parts = until_meetings({name: values[steady] for name, values in parts.items()}, met[steady])
    straggler = find_straggler(ranks, arrive[met], parts, phases["step"][steady])
    return Analysis(run, ranks, steps, epoch, session, steady, met, elapsed_s, period_s, images / period_s, phases,
                    arrive - arrive.min(axis=1, keepdims=True), parts, straggler, notes)


def meetings(run: Run, steps: np.ndarray) -> np.ndarray:
    """[steps], whether ranks wait for one another at the end of a step."""
    if run.asynchronous:
        return np.full(len(steps), False)
    last_of_epoch = (steps + 1) % int(run.number("steps_per_epoch") or 1) == 0
    return last_of_epoch | ((steps + 1) % run.sync_every == 0)


def align(run: Run):
    """The steps that all ranks logged, as arrays [steps, ranks]."""
    ranks, notes = list(run.ranks), list(run.notes)
    steps = run.ranks[ranks[0]]["step"].to_numpy()
    longest = max(len(log) for log in run.ranks.values())
    for log in run.ranks.values():
        steps = np.intersect1d(steps, log["step"].to_numpy(), assume_unique=True)

    def column(name: str) -> np.ndarray:
        if len(steps) == 0:
            return np.zeros((0, len(ranks)))
        return np.stack([log[name].to_numpy()[np.searchsorted(log["step"].to_numpy(), steps)]
                         for log in run.ranks.values()], axis=1)

    grid = {name: column(name) for name in GRID_COLUMNS}
    # A run that was resumed with another number of ranks has steps to which today's ranks logged only a part.
    whole = np.full(len(steps), True)
    if run.number("global_batch") and len(ranks) == run.number("ranks"):
        whole = grid["images"].sum(axis=1) == run.number("global_batch")
        steps, grid = steps[whole], {name: values[whole] for name, values in grid.items()}
    if len(steps) == 0:
        raise RunError(f"{run.path} has no step that all of its {len(ranks)} ranks logged. Has training just begun?")
    if len(steps) < longest:
        left_out = longest - len(steps)
        notes.append(f"{left_out} of {longest} steps {'was' if left_out == 1 else 'were'} not logged by all "
                     f"{len(ranks)} ranks (killed, or resumed with another number of ranks) and left out of the times.")
    return ranks, steps, column("epoch")[:, 0].astype(int), grid, notes


def split_phases(grid: dict[str, np.ndarray], asynchronous: bool) -> dict[str, np.ndarray]:
    phases = {name: grid[name + "_s"]
              for name in ("wait_data", "forward", "backward", "optimizer", "reduce_wait", "step")}
    arrive = grid["reduce_arrive_s"]
    late = np.zeros_like(arrive) if asynchronous else arrive.max(axis=1, keepdims=True) - arrive
    phases["straggler"] = np.minimum(phases["reduce_wait"], late)
    phases["exchange"] = phases["reduce_wait"] - phases["straggler"]
    known = sum(phases[name] for name in ("wait_data", "forward", "backward", "reduce_wait", "optimizer"))
    phases["other"] = np.maximum(np.round(phases["step"] - known, 6), 0)  # the columns are rounded to 1 us
    return phases


def clock(grid, session, follows):
    """When each step began, and how long until the next one did (validation between epochs not counted)."""
    start, step_s = np.median(grid["start_s"], axis=1), grid["step_s"].max(axis=1)
    elapsed, offset = np.empty(len(start)), 0.0
    for number in range(session[-1] + 1):
        own = session == number
        elapsed[own] = start[own] - start[own][0] + offset
        offset = elapsed[own][-1] + step_s[own][-1]
    period = step_s.copy()
    period[:-1][follows] = np.diff(start)[follows]
    period[period <= 0] = np.nan
    return elapsed, period


def steady_steps(session: np.ndarray) -> np.ndarray:
    steady = np.full(len(session), True)
    for number in range(session[-1] + 1):
        own = np.flatnonzero(session == number)
        steady[own[:min(WARM_UP_STEPS, len(own) // WARM_UP_SHARE)]] = False
    return steady


def find_straggler(ranks: list[int], arrive: np.ndarray, parts: dict[str, np.ndarray], step_s: np.ndarray) -> Straggler | None:
    """`arrive` at the meetings, and what that is made of: [meetings, ranks]. `step_s`: of all steady steps."""
    if len(ranks) < 2 or len(arrive) == 0:
        return None
    last = arrive.argmax(axis=1)
    times_last = np.bincount(last, minlength=len(ranks))
    column = int(times_last.argmax())
    its_steps, others = last == column, [c for c in range(len(ranks)) if c != column]

    def excess(values: np.ndarray, steps: np.ndarray = its_steps) -> float:
        """Median over these steps of how much more it has than the median other rank."""
        return float(np.median(values[steps, column] - np.median(values[steps][:, others], axis=1)))

    next_to_last = np.sort(arrive[its_steps], axis=1)[:, -2]
    cost = (arrive[its_steps, column] - next_to_last).sum() / step_s.max(axis=1).sum()
    last_share, lag_s = times_last[column] / len(last), excess(arrive, np.full(len(last), True))
    often = last_share >= min(CLEARLY_OFTEN / len(ranks), 0.9)
    return Straggler(rank=ranks[column], last_share=float(last_share), delay_s=excess(arrive), lag_s=lag_s,
                     cost_share=float(cost), named=bool(often and lag_s >= CLEARLY_LATE * np.median(step_s)),
                     excess_s={name: excess(values) for name, values in parts.items()})


def phase_table(a: Analysis) -> pd.DataFrame:
    """One row a phase; min, median and max over ranks are medians over steady steps of each step's own."""
    rows = []
    for phase in (*PHASES[:3], "reduce_wait", *PHASES[3:], "step"):
        low, middle, high = np.median(a.over_ranks(phase)[:, a.steady], axis=1)
        rows.append({"phase": phase, "part_of": "reduce_wait" if phase in ("straggler", "exchange") else "step",
                     "min_s": low, "median_s": middle, "max_s": high, "mean_s": a.mean_s(phase).mean(),
                     "share": a.share(phase)})
    rows[-1]["part_of"] = ""
    return pd.DataFrame(rows)


def rank_table(a: Analysis) -> pd.DataFrame:
    hosts = a.run.info.get("hosts") or []
    late_s = a.lateness_s[a.met] if a.met.any() else np.full((1, len(a.ranks)), np.nan)
    times_last = np.bincount(late_s.argmax(axis=1), minlength=len(a.ranks)) if a.met.any() else np.full(len(a.ranks), np.nan)
    rows = []
    for column, rank in enumerate(a.ranks):
        log, late = a.run.ranks[rank], late_s[:, column]
        cpu_s = (log["cpu_user_s"] + log["cpu_system_s"]).sum()
        wall_s = a.elapsed_s[-1] + a.phases["step"][-1, column]
        rows.append({
            "rank": rank, "host": hosts[rank] if rank < len(hosts) else "", "steps": len(log),
            "median_step_s": np.median(a.phases["step"][a.steady, column]),
            **{f"mean_{phase}_s": a.mean_s(phase)[column] for phase in PHASES},
            "times_last": times_last[column] if len(a.ranks) > 1 else 0,
            "median_lateness_s": np.median(late), "p90_lateness_s": np.quantile(late, 0.9),
            "max_lateness_s": late.max(),
            "images": int(log["images"].sum()), "sent_bytes": int(log["sent_bytes"].sum()),
            "busy_cores": cpu_s / wall_s if cpu_s > 0 else np.nan,  # looked at twice a second: 0 in a very short run
            "read_bytes": int(log["read_bytes"].sum()), "written_bytes": int(log["written_bytes"].sum()),
            "major_faults": int(log["major_faults"].sum()),
            "involuntary_switches": int(log["involuntary_switches"].sum()),
            "peak_rss_bytes": int(log["peak_rss_bytes"].max()),
        })
    return pd.DataFrame(rows)


def final_accuracy(run: Run) -> dict | None:
    """The accuracy that counts most: of `brigade evaluate`, else of validation, else of training."""
    if run.evaluation:
        e = run.evaluation
        return {"accuracy": e["top1_accuracy"], "loss": e["loss"], "of": e["split"], "images": e["samples"]}
    if len(run.epochs) == 0:
        return None
    last = run.epochs.iloc[-1]
    of, prefix = ("validation", "val") if np.isfinite(last["val_accuracy"]) else ("training", "train")
    return {"accuracy": last[f"{prefix}_accuracy"], "loss": last[f"{prefix}_loss"], "of": of,
            "images": int(last[f"{prefix}_images"])}


def summary_row(a: Analysis) -> dict:
    """One run in one row; units in the names."""
    run, accuracy, summary = a.run, final_accuracy(a.run) or {}, a.run.summary or {}
    rates = a.images_per_second[a.steady]
    low, middle, high = np.nanquantile(rates, [0.1, 0.5, 0.9])
    return {
        "run": run.name, "network": str(run.info.get("network", "")), "ranks": int(run.number("ranks", len(a.ranks))),
        "threads_per_rank": int(run.number("threads_per_rank", 1)), "global_batch": int(run.number("global_batch")),
        "parameters": int(run.number("parameters")), "exit_reason": str(summary.get("exit_reason", "not finished")),
        "epochs": int(np.nan_to_num(number_or_nan(summary.get("epochs", len(run.epochs))))),
        "steps": int(a.steps[-1]) + 1,
        "accuracy": accuracy.get("accuracy", np.nan), "accuracy_of": accuracy.get("of", ""),
        "accuracy_images": accuracy.get("images", 0), "loss": accuracy.get("loss", np.nan),
        "images_per_second": middle, "images_per_second_p10": low, "images_per_second_p90": high,
        "mean_images_per_second": number_or_nan(summary.get("images_per_second")),
        "startup_s": number_or_nan(summary.get("startup_s")),
        "train_s": number_or_nan(summary.get("train_s")) if summary else a.elapsed_s[-1] + a.period_s[-1],
        "val_s": number_or_nan(summary.get("val_s")), "total_s": number_or_nan(summary.get("total_s")),
        "median_step_s": np.median(a.phases["step"][a.steady].max(axis=1)),
        **{f"{phase}_share": a.share(phase) for phase in PHASES},
        "last_rank": a.straggler.rank if a.straggler else np.nan,
        "last_rank_share": a.straggler.last_share if a.straggler else np.nan,
        "last_rank_delay_s": a.straggler.delay_s if a.straggler else np.nan,
        "last_rank_cause": a.straggler.cause if a.straggler and a.straggler.named else "",
        "peak_rss_bytes": int(max(log["peak_rss_bytes"].max() for log in run.ranks.values())),
        "warm_up_steps_left_out": a.warm_up_steps,
    }


def number_or_nan(value) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan


def most_confused(evaluation: dict, count: int = 8) -> list[tuple[str, str, int, float]]:
    """(label, predicted as, images, share of the label's images), the most frequent errors first."""
    confusion = evaluation["confusion"]
    if confusion is None:
        return []
    wrong = confusion - np.diag(np.diag(confusion))
    names, totals = [c["name"] for c in evaluation["classes"]], confusion.sum(axis=1)
    order = [divmod(int(flat), len(names)) for flat in np.argsort(-wrong, axis=None, kind="stable")[:count]]
    return [(names[i], names[j], int(wrong[i, j]), wrong[i, j] / totals[i]) for i, j in order if wrong[i, j] > 0]
