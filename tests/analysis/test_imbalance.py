"""How ranks scatter, against draws with known answers."""
import numpy as np
import pytest

from brigade_analysis.imbalance import mean_lateness, mean_of_largest, steady_share


def arrivals(steps, ranks, steady_s, chance_s, places=None, seed=0):
    """[steps, ranks]: steps a second apart; ranks in turn in as many places."""
    random = np.random.default_rng(seed)
    own = (steady_s * random.standard_normal(places or ranks))[np.arange(ranks) % (places or ranks)]
    return np.arange(steps)[:, None] + own + chance_s * random.standard_normal((steps, ranks))


def test_mean_of_the_largest():
    assert [mean_of_largest(n) for n in (1, 2, 3)] == pytest.approx([0, 1 / np.sqrt(np.pi), 1.5 / np.sqrt(np.pi)], rel=1e-6)
    draws = np.random.default_rng(0).standard_normal((4000, 64)).max(axis=1).mean()
    assert mean_of_largest(64) == pytest.approx(draws, rel=0.02)


def test_steady_differences_are_told_from_chance():
    late = np.array([[0.0, 3.0], [10.0, 13.0], [20.0, 23.0]])  # always 3 later
    assert steady_share(late) == 1
    assert steady_share(np.array([[0.0, 3.0], [13.0, 10.0]])) == 0  # in turn
    assert steady_share(np.zeros((5, 2))) == 0 and steady_share(np.zeros((1, 4))) == 0 and steady_share(np.zeros((9, 1))) == 0
    shares = [steady_share(arrivals(200, 64, 0.02, 0.01, seed=seed)) for seed in range(10)]
    assert np.mean(shares) == pytest.approx(0.8, abs=0.03)
    assert np.mean([steady_share(arrivals(40, 4, 0.0, 0.01, seed=seed)) for seed in range(40)]) < 0.03


@pytest.mark.parametrize("ranks, places, steady", [(4, 2, 0.0), (4, 2, 0.5), (4, 2, 0.95), (4, 2, 1.0), (16, 4, 0.7), (6, 1, 0.5)])
def test_lateness_where_places_are_shared(ranks, places, steady):
    draws = [arrivals(1, ranks, np.sqrt(steady), np.sqrt(1 - steady), places, seed).max() for seed in range(8000)]
    assert mean_lateness(ranks, places, steady) == pytest.approx(np.mean(draws), abs=0.04)


def test_lateness_in_places_of_their_own():
    assert mean_lateness(8, 8, 0.3) == mean_lateness(8, 100, 0.9) == mean_of_largest(8)
    assert mean_lateness(4, 2, 1.0) == pytest.approx(mean_of_largest(2), rel=0.01)  # no more unlike than two
    assert mean_lateness(4, 2, 0.0) == pytest.approx(mean_of_largest(4), rel=0.01)
