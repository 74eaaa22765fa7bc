"""The model of a step on N nodes, fitted to runs made from known terms, and the simulation that checks it."""
import json

import numpy as np
import pytest
from synthetic_run import Synthetic, write_run

from brigade_analysis.__main__ import main
from brigade_analysis.load import RunError, load_run
from brigade_analysis.prediction import parse_nodes, predictions, simulated_step_s
from brigade_analysis.ring_model import fit, line, mean_of_largest, predict
from brigade_analysis.ring_simulation import Ring, closed_form, mean_end_after_backward, simulate
from brigade_analysis.scaling import measure

G, OVERLAP = 8e-9, 0.4  # 1 Gbit/s
BYTES = 4 * 455018  # of synthetic_run's network


def write_step(directory, nodes, images, repetition=0, latency_s=0.0):
    """A step of 0.1 ms and 0.2 ms an image forward, twice that backward, and the exchange of the model."""
    backward = 2e-4 + 4e-4 * images
    sent = 2 * (nodes - 1) / nodes * BYTES
    exchange = max(0.0, G * sent + 2 * (nodes - 1) * latency_s - OVERLAP * backward) if nodes > 1 else 0.0
    return write_run(directory / f"{nodes}-{images}-{repetition}", Synthetic(
        ranks=nodes, images=images, epochs=1, steps_per_epoch=40, ranks_per_host=1, evaluated=False, validates=False,
        forward_s=1e-4 + 2e-4 * images, backward_s=backward, exchange_s=exchange, sent_bytes=round(sent),
        hidden_bytes=round(sent - exchange / G), options={"bucket": "256K"}))


def measured_step(*arguments, **options):
    return measure(load_run(write_step(*arguments, **options)))


@pytest.fixture
def few(tmp_path):
    return [measured_step(tmp_path, nodes, images) for nodes in (1, 2) for images in (8, 32)]


def test_terms_are_found_again(few):
    model = fit(few)
    assert model.gradient_bytes == pytest.approx(BYTES, rel=1e-6) and model.bucket_bytes == 2**18
    assert model.seconds_per_byte == pytest.approx(G, rel=0.01) and model.overlap == pytest.approx(OVERLAP, rel=0.05)
    assert model.latency_s == 0 and model.scatter < 0.01
    assert model.together.forward_s(32) == pytest.approx(6.5e-3, rel=0.01)
    assert model.together.backward_s(16) == pytest.approx(6.6e-3, rel=0.01)  # between the measured ones
    assert model.together.backward_s(2) == pytest.approx(1.0e-3, rel=0.01)  # below: with its serial part


@pytest.mark.parametrize("images", [8, 32])
def test_four_nodes_from_one_and_two(few, tmp_path, images):
    [prediction] = predict(few, [4], lambda nodes: images * nodes)
    truth = measured_step(tmp_path, 4, images).images_per_second
    assert prediction.images_per_second == pytest.approx(truth, rel=0.01)
    assert prediction.low <= prediction.images_per_second <= prediction.high < 1.05 * prediction.low


def test_latency_is_told_from_bytes_by_two_node_counts(tmp_path):
    runs = [measured_step(tmp_path, nodes, images, latency_s=1e-3) for nodes in (2, 3, 4) for images in (8, 32)]
    model = fit(runs)
    assert model.latency_s == pytest.approx(1e-3, rel=0.1) and model.seconds_per_byte == pytest.approx(G, rel=0.05)


def test_another_link(few):
    model = fit(few).on_link(12.5e9, 2e-6)
    assert model.seconds_per_byte == pytest.approx(8e-11) and model.latency_s == 2e-6
    assert fit(few).on_link(None, None) == fit(few)


def test_scattered_repetitions_widen_the_band(tmp_path):
    runs = [measured_step(tmp_path, nodes, images) for nodes in (1, 2) for images in (8, 32)]
    for run in list(runs):
        slower = measure(load_run(tmp_path / run.name))
        slower.parts_s = {part: 1.2 * value for part, value in run.parts_s.items()}
        slower.step_s = 1.2 * run.step_s
        runs.append(slower)
    [prediction] = predict(runs, [4], lambda nodes: 8 * nodes)
    assert 1.05 < prediction.high / prediction.low < 1.6


def test_runs_that_cannot_be_fitted(few, tmp_path):
    with pytest.raises(RunError, match="all on one node"):
        fit(few[:2])
    packed = measure(load_run(write_run(tmp_path / "packed", Synthetic(ranks=4, epochs=1, evaluated=False))))
    with pytest.raises(RunError, match="several ranks a node"):
        fit([*few, packed])


def test_lines_have_no_negative_terms():
    assert line([8, 32], [10, 34]) == pytest.approx((2, 1))
    assert line([8, 32], [8, 64])[0] == 0  # would be negative
    assert line([8, 8], [15, 17]) == pytest.approx((0, 2))


def test_mean_of_the_largest():
    assert [mean_of_largest(n) for n in (1, 2, 3)] == pytest.approx([0, 1 / np.sqrt(np.pi), 1.5 / np.sqrt(np.pi)], rel=1e-6)
    draws = np.random.default_rng(0).standard_normal((4000, 64)).max(axis=1).mean()
    assert mean_of_largest(64) == pytest.approx(draws, rel=0.02)


def test_node_counts():
    assert parse_nodes("1..10") == [1, 2, 4, 8, 10] and parse_nodes("3,1") == [3, 1] and parse_nodes("1..1") == [1]
    for bad in ("", "0,1", "two", "4..1x", "1,,2", "1..0", "0..4"):
        with pytest.raises(RunError):
            parse_nodes(bad)


# ---- the simulation

@pytest.mark.parametrize("ranks", [2, 3, 8, 33])
def test_a_single_bucket_takes_what_the_formula_says(ranks):
    ring = Ring((1e6,), (0.0,) * ranks, 1e-9, 1e-5)
    assert simulate(ring) == pytest.approx(2 * (ranks - 1) * (1e6 / ranks * 1e-9 + 1e-5), rel=1e-9)
    assert simulate(ring) == pytest.approx(closed_form(ring), rel=1e-9)


def test_one_rank_sends_nothing():
    assert simulate(Ring((1e6,), (0.25,), 1e-9, 1.0)) == 0.25


@pytest.mark.parametrize("backward_s", [0.0, 2e-3, 20e-3])
def test_buckets_behind_backward(backward_s):
    """Links bound by bytes: the simulation is within a few per cent of the closed form, and never below the wire."""
    ring = Ring((250e3,) * 8, (backward_s,) * 4, 4e-9, 1e-6)
    wire = 2 * 3 / 4 * 2e6 * 4e-9
    assert simulate(ring) >= max(wire, backward_s + wire / 8) * (1 - 1e-9)
    assert simulate(ring) == pytest.approx(closed_form(ring), rel=0.05)


def test_latency_of_several_buckets_is_shared():
    """The links carry other buckets while a message is on its way, which the closed form does not know."""
    ring = Ring((1e3,) * 8, (0.0,) * 4, 1e-9, 1e-3)
    assert simulate(ring) == pytest.approx(6e-3, rel=0.02) and closed_form(ring) == pytest.approx(48e-3, rel=0.02)


def test_slow_progress_during_backward():
    """At half speed, half of what could have left during backward is left over."""
    quick, slow = (Ring((1e5,) * 10, (4e-3,) * 2, 4e-9, 0.0, overlap) for overlap in (1.0, 0.5))
    assert simulate(slow) > simulate(quick)
    assert simulate(slow) == pytest.approx(4e-3 + 1e6 * 4e-9 - 0.5 * (4e-3 - 0.4e-3), rel=0.02)


def test_a_late_rank_is_waited_for():
    ring = Ring((1e6,), (0.0, 0.0, 0.5, 0.0), 1e-9, 0.0)
    assert 0.5 < simulate(ring) <= 0.5 + 2 * 3 * 1e6 / 4 * 1e-9
    even = Ring((1e6,), (0.1,) * 8, 1e-9, 0.0)
    late = mean_end_after_backward(even, 200, 0.01) - mean_end_after_backward(even, 1, 0.0)
    assert late == pytest.approx(0.01 * mean_of_largest(8), rel=0.15)


def test_simulation_agrees_with_the_model(few):
    model = fit(few)
    for nodes in (2, 4, 8):
        [prediction] = predict(few, [nodes], lambda n: 8 * n)
        assert simulated_step_s(model, prediction, 8) == pytest.approx(prediction.step_s, rel=0.05), nodes


# ---- the command

def test_predictions_beside_measurement(tmp_path, capsys):
    for nodes in (1, 2, 4):
        for images in (8, 32):
            write_step(tmp_path, nodes, images)
    paths = sorted(str(path) for path in tmp_path.glob("*-*-*"))
    assert main(["predict", "--fit-nodes", "1,2", "--nodes", "1,2,4", "--json", str(tmp_path / "json"), *paths]) == 0
    assert "fitted to 4 runs: 1.82 MB of gradients; links carry 1 Gbit/s" in capsys.readouterr().out
    rows = {(row["mode"], row["batch"], row["nodes"]): row for row in json.loads((tmp_path / "json").read_text())}
    four = rows["weak", 8, 4]
    assert four["images_per_second"] == pytest.approx(four["measured"], rel=0.01)
    assert rows["weak", 32, 1]["simulated_step_s"] is None
    assert main(["predict", "--nodes", "4", "--link-gbps", "100", "--latency-us", "2", "--json", str(tmp_path / "json"), *paths]) == 0
    [other] = [row for row in json.loads((tmp_path / "json").read_text()) if (row["mode"], row["batch"]) == ("weak", 8)]
    assert other["exchange_s"] < 1e-3 and other["measured"] is None


def test_strong_predictions_end_where_nodes_have_no_image(few):
    rows = [row for row in predictions(few, [1, 16, 4096], None, None, None) if row["mode"] == "strong"]
    assert [row["nodes"] for row in rows] == [1, 16]


@pytest.mark.parametrize("arguments, complaint", [
    (["--nodes", "none"], "names no node counts"), (["--fit-nodes", "1"], "all on one node"),
    (["--fit-nodes", "7"], "no run has one of the node counts")])
def test_what_cannot_be_predicted(few, tmp_path, capsys, arguments, complaint):
    paths = [str(tmp_path / run.name) for run in few]
    assert main(["predict", *arguments, *paths]) == 3
    assert complaint in capsys.readouterr().err


def test_bad_links_are_bad_options(few, tmp_path):
    for option in (["--link-gbps", "0"], ["--link-gbps", "nan"], ["--latency-us", "-1"]):
        with pytest.raises(SystemExit) as end:
            main(["predict", *option, str(tmp_path / few[0].name)])
        assert end.value.code == 2
