"""How far apart ranks arrive at a sum, and what the mean rank so waits for the last one.

    arrival(step, rank) = of the step + steady(rank) + chance(step, rank)

Steady is what sets a rank apart in every step: its processor is slower, its share of the machine smaller. Chance is drawn anew in
each step. Both are taken as normal; an analysis of variance tells them apart (one-way, random effects: Scheffe, The Analysis of
Variance, 1959, chapter 7). Ranks in places of their own (processors, nodes) have steady differences of their own, and these grow
with the number of ranks as chance does. Several ranks in one place share its steady difference: four hosts made of two processors
are no more unlike than two.
"""
import functools

import numpy as np
from scipy import integrate, stats

GRID = np.linspace(-9, 9, 1801)  # standard deviations


def steady_share(arrive_s: np.ndarray) -> float:
    """Of the variance between ranks, that of what sets a rank apart in every step. `arrive_s`: [steps, ranks], on one clock."""
    steps, ranks = arrive_s.shape
    if steps < 2 or ranks < 2:
        return 0.0
    late = arrive_s - arrive_s.mean(axis=1, keepdims=True)
    own = late.mean(axis=0)
    chance = np.square(late - own).sum() / ((steps - 1) * (ranks - 1))
    steady = max(0.0, np.square(own).sum() / (ranks - 1) - chance / steps)
    return float(steady / (steady + chance)) if steady + chance > 0 else 0.0


@functools.cache
def mean_of_largest(n: int) -> float:
    """Mean of the largest of n standard normal numbers: 0, 0.564, 0.846, 1.029, ..."""
    if n == 1:
        return 0.0
    return integrate.quad(lambda x: n * x * stats.norm.pdf(x) * np.exp((n - 1) * stats.norm.logcdf(x)), -8, 10)[0]


@functools.cache
def mean_lateness(ranks: int, places: int, steady: float) -> float:
    """Mean of the last of so many arrivals, in standard deviations of one, if `steady` of their variance is that of their
    places, each with as many ranks."""
    if places >= ranks:
        return mean_of_largest(ranks)
    chance = np.sqrt(max(1 - steady, 1e-9))
    earlier = stats.norm.cdf((GRID[:, None] - np.sqrt(steady) * GRID[None, :]) / chance)  # than x, in a place that is o late: [x, o]
    last_of_place = integrate.trapezoid(stats.norm.pdf(GRID) * earlier ** (ranks / places), GRID, axis=1)
    last = np.clip(last_of_place, 0, 1) ** places
    return float(integrate.trapezoid(np.where(GRID > 0, 1 - last, -last), GRID))
