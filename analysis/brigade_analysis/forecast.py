"""What a fitted model says of other node counts, and how far that can be trusted.

The band has three sources: a bootstrap (the model is fitted to runs drawn with replacement, of each node count and batch as many
as there are), how far apart repetitions of one run are, and how far the model misses the runs it was fitted to. The last two
are few numbers, so Student's distribution says what they mean. Without repetitions nothing is known of it.
"""
from dataclasses import dataclass, replace

import numpy as np

from .scaling import Measurement, group
from .step_model import StepModel, fit

DRAWS = 200
BAND = 0.05, 0.95  # quantiles


@dataclass(frozen=True)
class Forecast:
    model: StepModel
    drawn: list[StepModel]
    scatter: float  # relative, of one run's step; NaN without repetitions
    freedom: int  # repetitions beyond the first of each kind

    def on_link(self, *link) -> "Forecast":
        """As StepModel.on_link()."""
        return replace(self, model=self.model.on_link(*link), drawn=[one.on_link(*link) for one in self.drawn])

    def band(self, nodes: int, batch: float) -> tuple[float, float]:
        """Images/s that 5 % and 95 % of runs are below; NaN if nothing is known of it."""
        if self.freedom == 0:
            return np.nan, np.nan
        noise = np.exp(self.scatter * np.random.default_rng(1).standard_t(self.freedom, len(self.drawn)))
        rates = [batch / (one.step_s(nodes, batch / nodes) * factor) for one, factor in zip(self.drawn, noise)]
        low, high = np.quantile(rates, BAND)
        rate = batch / self.model.step_s(nodes, batch / nodes)
        return min(float(low), rate), max(float(high), rate)


def forecast(runs: list[Measurement], link_bytes_per_s: float | None = None, draws: int = DRAWS) -> Forecast:
    """`link_bytes_per_s`: what links of the runs carry, as fit() takes it."""
    model = fit(runs, link_bytes_per_s)
    groups = list(group(runs, lambda run: (run.nodes, run.batch)).values())
    scatter, freedom = scatter_of(groups, model)
    random = np.random.default_rng(1)
    drawn = [fit([own[i] for own in groups for i in random.integers(0, len(own), len(own))], link_bytes_per_s)
             for _ in range(draws if freedom else 0)]
    return Forecast(model, drawn, scatter, freedom)


def scatter_of(groups: list[list[Measurement]], model: StepModel) -> tuple[float, int]:
    """Relative standard deviation of a run about the model, and its degrees of freedom."""
    freedom = sum(len(own) - 1 for own in groups)
    if freedom == 0:
        return np.nan, 0
    logs = [np.log([run.step_s for run in own]) for own in groups]
    repetitions = sum(np.square(one - one.mean()).sum() for one in logs) / freedom
    misses = [np.median(one) - np.log(model.step_s(run.nodes, run.batch / run.nodes, run.places))
              for one, (run, *_) in zip(logs, groups)]
    return float(np.sqrt(repetitions + np.mean(np.square(misses)))), freedom
