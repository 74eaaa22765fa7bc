"""What 2, 4 and 8 times the nodes of a study would do: the model of `predict`, fitted to the study's own runs."""
from dataclasses import dataclass, field

from .html import table
from .load import RunError
from .prediction import describe, predictions
from .scaling import Measurement, Series
from .step_model import fit
from .tables import align
from .words import digits, digits_or_int, percent, seconds

TIMES = (1, 2, 4, 8)  # the largest number of nodes measured
TITLES = ["scaling", "nodes", "batch", "images/s", "5 % to 95 %", "efficiency", "step", "of it exposed allreduce",
          "waiting for late ranks", "node-seconds an epoch", "measured"]


@dataclass
class Outlook:
    """Of the runs of one kind."""
    text: str
    rows: list[list[str]] = field(default_factory=list)  # of TITLES

    def page_table(self) -> str:
        return table(TITLES, self.rows, left_columns=1) if self.rows else ""

    def for_terminal(self) -> str:
        return f"\n{self.text}" + (f"\n{align([TITLES, *self.rows], left=1)}" if self.rows else "")


def outlook(series: list[Series]) -> list[Outlook]:
    """One for each label. Where nothing can be said, it says why."""
    if series[0].unit == "rank":
        return [Outlook("Nothing is known of more nodes: ranks of one machine say nothing of a network. Run the study on two nodes or more?")]
    labels = list(dict.fromkeys(s.label for s in series))
    return [outlook_of(label, [run for s in series if s.label == label for p in s.points for run in p.runs]) for label in labels]


def outlook_of(label: str, runs: list[Measurement]) -> Outlook:
    runs = list({id(run): run for run in runs}.values())  # one may be in a strong and in a weak series
    largest = max(run.nodes for run in runs)
    try:
        model, rows = fit(runs), predictions(runs, [largest * factor for factor in TIMES], None, None, None)
    except RunError as error:
        return Outlook(f"{label}: no prediction, since {error}")
    images = max(run.images_per_epoch for run in runs)
    return Outlook(f"{label}, by the model fitted to {len(runs)} runs: {describe(model)}", [
        [row["mode"], str(row["nodes"]), digits_or_int(row["global_batch"]), digits(row["images_per_second"]),
         f"{digits(row['low'])} to {digits(row['high'])}", percent(row["efficiency"]), seconds(row["step_s"]),
         percent(row["exchange_s"] / row["step_s"]), percent(row["straggler_s"] / row["step_s"]),
         digits(row["nodes"] * images / row["images_per_second"]), digits(row["measured"])] for row in rows])
