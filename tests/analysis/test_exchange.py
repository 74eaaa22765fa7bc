"""Bytes and rounds of every algorithm, and the simulation of sums over nodes beside the closed form."""
import pytest

from brigade_analysis.exchange import Exchange, Sums, exchange_of
from brigade_analysis.exchange_simulation import SumsInFlight, mean_end_after_backward, schedule, simulate
from brigade_analysis.imbalance import mean_of_largest
from brigade_analysis.load import RunError
from brigade_analysis.network import Network

RING, HALVING = Exchange("ring"), Exchange("halving-doubling")


@pytest.mark.parametrize("exchange, nodes, link, path, rounds", [
    (RING, 1, 0, 0, 0), (RING, 2, 1, 1, 2), (RING, 4, 1.5, 1.5, 6), (HALVING, 2, 1, 1, 2), (HALVING, 4, 1.5, 1.5, 4),
    (HALVING, 8, 1.75, 1.75, 6), (HALVING, 3, 2, 3, 4), (HALVING, 6, 2.5, 3.5, 6),
    (Exchange("ring", 4), 4, 1.5, 1.5, 6),  # four rings of four nodes, each of a quarter
    (Exchange("ring", 4, flat=True), 4, 1.875, 1.875, 30)])  # one of sixteen ranks
def test_bytes_and_rounds(exchange, nodes, link, path, rounds):
    assert (exchange.link_share(nodes), exchange.path_share(nodes), exchange.rounds(nodes)) == (link, path, rounds)


@pytest.mark.parametrize("between, node_memory, each, flat", [
    ("ring", False, 1, False), ("ring", False, 2, True), ("ring", True, 2, False), ("halving-doubling", False, 2, False),
    ("halving-doubling", True, 4, False)])
def test_the_algorithm_a_run_took(between, node_memory, each, flat):
    assert exchange_of(Sums(between, node_memory), each) == Exchange(between, each, flat)


@pytest.mark.parametrize("between, complaint", [("mpi", "nobody but MPI knows"), ("", "parameter servers make none")])
def test_what_no_algorithm_is_known_of(between, complaint):
    with pytest.raises(RunError, match=complaint):
        exchange_of(Sums(between), 1)


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 6, 8, 12])
def test_schedules_halve_and_double(nodes):
    """Every message is expected, nobody waits for one that is not sent, and the busiest node sends what the formula says."""
    rounds = [schedule("halving-doubling", node, nodes) for node in range(nodes)]
    assert len({len(own) for own in rounds}) == 1
    for number in range(len(rounds[0])):
        sent_to = sorted(own[number].to for own in rounds if own[number].to is not None)
        assert sent_to == [node for node in range(nodes) if rounds[node][number].expects]
    assert max(sum(round_.share for round_ in own) for own in rounds) == pytest.approx(HALVING.link_share(nodes))


@pytest.mark.parametrize("nodes", [2, 3, 4, 6, 7, 8, 16, 33])
@pytest.mark.parametrize("exchange", [RING, HALVING], ids=["ring", "halving-doubling"])
def test_one_bucket_of_one_rank_a_node_takes_what_the_formula_says(exchange, nodes):
    sums = SumsInFlight((1e6,), (0.0,) * nodes, Network(1e-9, 1e-5), exchange)
    assert simulate(sums) == pytest.approx(exchange.path_share(nodes) * 1e-3 + exchange.rounds(nodes) * 1e-5, rel=1e-9)


@pytest.mark.parametrize("nodes", [2, 4, 8])
@pytest.mark.parametrize("exchange", [Exchange("ring", 4), Exchange("halving-doubling", 4)], ids=["ring", "halving-doubling"])
def test_several_ranks_a_node(exchange, nodes):
    """1 MB in slices over four ranks: the slices share the node's link."""
    wire = exchange.path_share(nodes) * 1e-3
    assert simulate(SumsInFlight((1e6,), (0.0,) * nodes, Network(1e-9), exchange)) == pytest.approx(wire, rel=1e-9)
    # A slice's latency passes while the others use the link: less than the formula, which waits for every round.
    late = simulate(SumsInFlight((1e6,), (0.0,) * nodes, Network(1e-9, 1e-5), exchange))
    assert wire + 1e-5 <= late * (1 + 1e-9) and late <= (wire + exchange.rounds(nodes) * 1e-5) * (1 + 1e-9)


def test_one_rank_sends_nothing():
    assert simulate(SumsInFlight((1e6,), (0.25,), Network(1e-9, 1.0))) == 0.25


@pytest.mark.parametrize("backward_s", [0.0, 2e-3, 20e-3])
def test_buckets_behind_backward(backward_s):
    """At full speed all but the last of eight buckets can leave before backward is over: 12 ms on the wire, 1.5 of them after it."""
    sums = SumsInFlight((250e3,) * 8, (backward_s,) * 4, Network(4e-9, overlap=1.0))
    assert simulate(sums) == pytest.approx(max(12e-3, backward_s + 1.5e-3), rel=1e-9)


def test_latency_of_several_buckets_is_shared():
    """The links carry other buckets while a message is on its way."""
    assert simulate(SumsInFlight((1e3,) * 8, (0.0,) * 4, Network(1e-9, 1e-3))) == pytest.approx(6e-3, rel=0.02)


def test_slow_progress_during_backward():
    """At half speed, half of what could have left during backward is left over; without any, all of it."""
    for overlap in (1.0, 0.5, 0.0):
        sums = SumsInFlight((1e5,) * 11, (4e-3,) * 2, Network(4e-9, overlap=overlap))
        assert simulate(sums) == pytest.approx(4e-3 + 1.1e6 * 4e-9 - overlap * 4e-3, rel=1e-9), overlap


def test_a_head_start_takes_bytes_off_all_but_the_last_bucket():
    """Of 4.4 ms at most 4: of the last bucket nothing can leave before it is complete."""
    for head_start_s, hidden_s in ((1e-3, 1e-3), (3.9e-3, 3.9e-3), (1.0, 4e-3)):
        sums = SumsInFlight((1e5,) * 11, (4e-3,) * 2, Network(4e-9, head_start_s=head_start_s))
        assert simulate(sums) == pytest.approx(4e-3 + 4.4e-3 - hidden_s, rel=1e-9), head_start_s


def test_a_link_idles_where_its_head_start_is_ahead_of_backward():
    """1 ms of head start, half speed: 2.5 of 11 buckets are gone as they come; the third, complete after 0.8 ms, is the first to occupy
    the link."""
    sums = SumsInFlight((1e5,) * 11, (4e-3,) * 2, Network(4e-9, 0.0, 0.5, 1e-3))
    assert simulate(sums) == pytest.approx(4e-3 + 4.4e-3 - 1e-3 - 0.5 * (4e-3 - 0.8e-3), rel=1e-9)


def test_a_late_rank_is_waited_for():
    sums = SumsInFlight((1e6,), (0.0, 0.0, 0.5, 0.0), Network(1e-9))
    assert 0.5 < simulate(sums) <= 0.5 + 2 * 3 * 1e6 / 4 * 1e-9
    even = SumsInFlight((1e6,), (0.1,) * 8, Network(1e-9))
    late = mean_end_after_backward(even, 200, 0.01) - mean_end_after_backward(even, 1, 0.0)
    assert late == pytest.approx(0.01 * mean_of_largest(8), rel=0.15)
