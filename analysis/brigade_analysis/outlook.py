"""What 2, 4 and 8 times the nodes of a study would do: the model of `predict`, fitted to the study's own runs."""
from dataclasses import dataclass, field

from .html import table
from .load import RunError
from .prediction import SPLIT_TITLES, about_fit, describe, predictions, split_rows
from .scaling import Measurement, Series
from .tables import align
from .words import digits, digits_or_int, percent, seconds

TIMES = (1, 2, 4, 8)  # the largest number of nodes measured
TITLES = ["scaling", "nodes", "batch", "images/s", "5 % to 95 %", "efficiency", "step", "of it exposed allreduce",
          "waiting for late ranks", "node-seconds an epoch", "measured"]
CHECK = "What the same model, fitted without the largest number of nodes, says of it, beside what was measured there:"


@dataclass
class Outlook:
    """Of the runs of one kind."""
    text: str
    rows: list[list[str]] = field(default_factory=list)  # of TITLES
    check: list[list[str]] = field(default_factory=list)  # of SPLIT_TITLES

    def page_table(self) -> str:
        check = f"<p>{CHECK}</p>{table(SPLIT_TITLES, self.check, left_columns=1)}" if self.check else ""
        return (table(TITLES, self.rows, left_columns=1) if self.rows else "") + check

    def for_terminal(self) -> str:
        check = f"\n\n{CHECK}\n{align([SPLIT_TITLES, *self.check], left=1)}" if self.check else ""
        return f"\n{self.text}" + (f"\n{align([TITLES, *self.rows], left=1)}" if self.rows else "") + check


def outlook(series: list[Series], link_gbps: float | None = None) -> list[Outlook]:
    """One for each label. Where nothing can be said, it says why. `link_gbps`: of the runs' links, if known."""
    if series[0].unit == "rank":
        return [Outlook("Nothing is known of more nodes: ranks of one machine say nothing of a network. Run the study on two nodes or "
                        "more?")]
    labels = list(dict.fromkeys(s.label for s in series))
    return [outlook_of(label, [run for s in series if s.label == label for p in s.points for run in p.runs], link_gbps) for label in labels]


def outlook_of(label: str, runs: list[Measurement], link_gbps: float | None) -> Outlook:
    runs = list({id(run): run for run in runs}.values())  # one may be in a strong and in a weak series
    largest = max(run.nodes for run in runs)
    try:
        fitted, rows = predictions(runs, [largest * factor for factor in TIMES], fit_link_gbps=link_gbps)
    except RunError as error:
        return Outlook(f"{label}: no prediction, since {error}")
    images = max(run.images_per_epoch for run in runs)
    return Outlook(" ".join([f"{label}, by the model fitted to {len(runs)} runs: {describe(fitted.model)}", *about_fit(fitted, runs)]), [
        [row["mode"], str(row["nodes"]), digits_or_int(row["global_batch"]), digits(row["images_per_second"]),
         f"{digits(row['low'])} to {digits(row['high'])}", percent(row["efficiency"]), seconds(row["step_s"]),
         percent(row["exchange_s"] / row["step_s"]), percent(row["straggler_s"] / row["step_s"]),
         digits(row["nodes"] * images / row["images_per_second"]), digits(row["measured"])] for row in rows],
        held_out(runs, largest, link_gbps))


def held_out(runs: list[Measurement], largest: int, link_gbps: float | None) -> list[list[str]]:
    """Empty, if the others are on one node only."""
    fewer = sorted({run.nodes for run in runs} - {largest})
    try:
        return split_rows(predictions(runs, [largest], fewer, fit_link_gbps=link_gbps)[1]) if fewer else []
    except RunError:
        return []
