"""Who shares processors, from what run.json says."""
from types import SimpleNamespace

import pytest

from brigade_analysis.crowding import Crowding, crowding_of, processors_in


def run_on(machines, processors, hosts, threads=1, limits=None):
    info = {"machines": machines, "processors": processors, "hosts": hosts} | ({"processor_limits": limits} if limits else {})
    return SimpleNamespace(info=info, number=lambda key, default=0: threads)


def test_ranges():
    assert processors_in("0-2,8") == {0, 1, 2, 8} and processors_in("5") == {5} and processors_in("") == set()


@pytest.mark.parametrize("run, ranks, expected", [
    (run_on(["m"] * 4, ["0-1"] * 4, ["a", "b", "c", "d"]), 4, Crowding(4, 2, 4, places=2)),
    (run_on(["m", "m", "n", "n"], ["0-1", "2-3"] * 2, ["a", "a", "b", "b"], threads=2), 4, Crowding(4, 4, 1, places=4)),
    (run_on(["m", "m", "n"], ["0-3", "0-3", "0"], ["a", "a", "b"], threads=3), 3, Crowding(3, 1, 1, places=2)),
    (run_on(["m"] * 3, ["0"] * 3, ["a"] * 3), 2, Crowding(2, 1, 1, places=1)),  # the third is a server
    (run_on(["m"] * 4, ["0-1"] * 4, ["a", "a", "b", "b"], limits=[0.4, 0.4, 0.5, None]), 4, Crowding(4, 2, 2, 0.9, 2)),
    (run_on([], [], ["a", "b"]), 2, Crowding())])  # of an earlier version
def test_the_most_crowded_machine(run, ranks, expected):
    assert crowding_of(run, ranks) == expected


def test_factor():
    assert Crowding(4, 2).factor == 2 and Crowding(1, 8).factor == 1 and Crowding().factor == 1
    assert Crowding(4, 2, 4, 4 * 0.4).factor == 1 and Crowding(8, 2, 4, 3).factor == 1.5
