"""The numbers, on synthetic runs whose answers are known."""
import numpy as np
import pytest
from synthetic_run import CLASSES, Synthetic, write_run

from brigade_analysis.aggregate import (PHASES, analyse, final_accuracy, most_confused, phase_table, rank_table,
                                        summary_row)
from brigade_analysis.causes import until_meetings
from brigade_analysis.load import load_run

ROUNDING = 2e-6  # the logs hold microseconds


def analysed(path, *runs, **options):
    for number, run in enumerate(runs or [Synthetic(**options)]):
        write_run(path, run, first_epoch=number + 1)
    return analyse(load_run(path))


def test_every_second_of_a_step_is_accounted_for(tmp_path):
    run = Synthetic(ranks=3)
    table = phase_table(analysed(tmp_path, run)).set_index("phase")
    for phase, expected in {"wait_data": run.wait_data_s, "forward": run.forward_s, "backward": run.backward_s,
                            "reduce_wait": run.exchange_s, "straggler": 0, "exchange": run.exchange_s,
                            "optimizer": run.optimizer_s, "other": run.rest_s, "step": run.step_s}.items():
        seconds = table.loc[phase, ["min_s", "median_s", "max_s", "mean_s"]].to_list()
        assert seconds == pytest.approx([expected] * 4, abs=25e-6), phase  # ranks began 10 us apart
        assert table.loc[phase, "share"] == pytest.approx(expected / run.step_s, abs=1e-3), phase
    assert table.loc[list(PHASES), "share"].sum() == pytest.approx(1, abs=1e-4)


def test_spread_over_ranks(tmp_path):
    run = Synthetic(ranks=3, late={(2, "forward"): 0.006, (1, "forward"): 0.001})
    forward = phase_table(analysed(tmp_path, run)).set_index("phase").loc["forward"]
    assert forward[["min_s", "median_s", "max_s"]].to_list() == pytest.approx([0.010, 0.011, 0.016], abs=ROUNDING)
    assert forward["mean_s"] == pytest.approx((0.010 + 0.011 + 0.016) / 3, abs=ROUNDING)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("phase, cause", [("wait_data", "data"), ("forward", "compute"), ("backward", "compute")])
def test_a_rank_late_by_10_ms_is_named_with_its_cause(tmp_path, ranks, phase, cause):
    run = Synthetic(ranks=ranks, late={(1, phase): 0.010})
    a = analysed(tmp_path, run)
    assert a.straggler.named and (a.straggler.rank, a.straggler.cause) == (1, cause)
    assert a.straggler.last_share == 1
    assert a.straggler.delay_s == pytest.approx(0.010, abs=ROUNDING)
    assert a.straggler.excess_s[cause] == pytest.approx(0.010, abs=ROUNDING)
    assert a.straggler.cost_share == pytest.approx(0.010 / (run.step_s + 0.010), rel=1e-3)
    # the others pay for it in the sum of gradients
    assert a.mean_s("straggler") == pytest.approx([0 if r == 1 else 0.010 for r in range(ranks)], abs=ROUNDING)
    assert a.mean_s("exchange") == pytest.approx([run.exchange_s] * ranks, abs=ROUNDING)
    assert rank_table(a)["times_last"].to_list() == [90 if r == 1 else 0 for r in range(ranks)]
    lateness = rank_table(a)["median_lateness_s"].to_list()
    assert lateness == pytest.approx([0.010 if r == 1 else 0 for r in range(ranks)], abs=ROUNDING)


def test_a_slow_rank_is_found_in_noise_of_many(tmp_path):
    straggler = analysed(tmp_path, ranks=16, noise=0.05, late={(5, "backward"): 0.005}, steps_per_epoch=100).straggler
    assert straggler.named and (straggler.rank, straggler.cause) == (5, "compute")


def test_noise_alone_names_nobody(tmp_path):
    assert not analysed(tmp_path / "2", ranks=2, noise=0.05, steps_per_epoch=200).straggler.named
    assert not analysed(tmp_path / "4", ranks=4, noise=0.05, steps_per_epoch=200).straggler.named


def test_one_rank_waits_for_nobody(tmp_path):
    a = analysed(tmp_path, ranks=1)
    assert a.straggler is None and a.share("straggler") == 0 and rank_table(a)["times_last"].to_list() == [0]


def test_throughput_counts_all_ranks_and_no_warm_up(tmp_path):
    run = Synthetic(ranks=4)
    a = analysed(tmp_path, run)
    expected = 4 * 64 / run.step_s
    assert a.median_images_per_second == pytest.approx(expected, rel=1e-3)
    assert np.median(a.images_per_second[:5]) < 0.6 * expected  # the cold steps took twice as long
    assert a.warm_up_steps == 10 and a.steady.sum() == 90 and not a.steady[:10].any()


def test_time_from_step_to_step_leaves_validation_out(tmp_path):
    run = Synthetic(epochs=3, validation_s=1.0)
    a = analysed(tmp_path, run)
    assert a.period_s[20:].max() == pytest.approx(run.step_s, abs=1e-4)
    assert a.elapsed_s[100] - a.elapsed_s[99] == pytest.approx(run.step_s + 1.0, abs=1e-4)


def test_warm_up_is_a_fifth_of_a_short_run(tmp_path):
    assert analysed(tmp_path, epochs=1, steps_per_epoch=15).warm_up_steps == 3
    assert analysed(tmp_path / "one", epochs=1, steps_per_epoch=1).warm_up_steps == 0


def test_a_resumed_run_is_one_run_with_two_warm_ups(tmp_path):
    first, second = Synthetic(epochs=1, finished=False), Synthetic(epochs=2)
    a = analysed(tmp_path, first, second)
    assert list(a.steps) == list(range(100)) and list(a.run.epochs["epoch"]) == [1, 2]
    assert list(a.session) == [0] * 50 + [1] * 50
    assert a.warm_up_steps == 20 and not a.steady[50:60].any()
    assert (np.diff(a.elapsed_s) > 0).all()
    assert a.elapsed_s[50] == pytest.approx(a.elapsed_s[49] + run_step(a, 49), abs=ROUNDING)
    assert any("resumed 1 time:" in note for note in a.notes)


def run_step(a, index):
    return a.phases["step"][index].max()


@pytest.mark.parametrize("before, now", [(4, 2), (2, 4)])
def test_resumed_with_another_number_of_ranks(tmp_path, before, now):
    """The global batch stays. Only the steps of today's ranks count: of the others, they logged a part, or nothing."""
    a = analysed(tmp_path, Synthetic(ranks=before, images=256 // before, epochs=1),
                 Synthetic(ranks=now, images=256 // now, epochs=2))
    assert a.ranks == list(range(now)) and list(a.steps) == list(range(50, 100))
    assert a.median_images_per_second == pytest.approx(256 / Synthetic().step_s, rel=1e-3)
    assert any("50 of 100 steps were not logged by all" in note for note in a.notes)


def test_summary_row(tmp_path):
    run = Synthetic(ranks=2, late={(0, "wait_data"): 0.02})
    row = summary_row(analysed(tmp_path / "first", run))
    expected = {
        "run": "first", "network": "fashion-cnn", "ranks": 2, "global_batch": 128, "epochs": 2, "steps": 100,
        "accuracy": 0.984, "accuracy_of": "test", "accuracy_images": 10000, "startup_s": 0.31, "last_rank": 0,
        "last_rank_cause": "data", "peak_rss_bytes": 100_000_001}
    assert {key: row[key] for key in expected} == expected
    assert row["median_step_s"] == pytest.approx(run.step_s + 0.02, abs=25e-6)
    assert sum(row[f"{phase}_share"] for phase in PHASES) == pytest.approx(1, abs=1e-4)


def test_the_accuracy_that_counts_most(tmp_path):
    def final(name, **options):
        return final_accuracy(analysed(tmp_path / name, epochs=4, **options).run)

    assert final("evaluated") == {"accuracy": 0.984, "loss": 0.25, "of": "test", "images": 10000}
    assert final("validated", evaluated=False) == pytest.approx(
        {"accuracy": 0.95, "loss": 0.15, "of": "validation", "images": 10000})
    assert final("trained", evaluated=False, validates=False) == pytest.approx(
        {"accuracy": 0.9375, "loss": 0.175, "of": "training", "images": 6400})


def test_system_counters_are_added_up(tmp_path):
    a = analysed(tmp_path, ranks=2)
    table = rank_table(a)
    assert table["involuntary_switches"].to_list() == [30, 30]  # 3 in every tenth step
    assert table["sent_bytes"].to_list() == [100 * 1820072] * 2
    assert table["busy_cores"].to_list() == pytest.approx([4.0 / (a.elapsed_s[-1] + run_step(a, -1))] * 2, rel=1e-3)
    assert table["host"].to_list() == ["node0", "node0"]


def test_most_confused_classes(tmp_path):
    pairs = most_confused(analysed(tmp_path).run.evaluation)
    assert pairs[0] == (CLASSES[6], CLASSES[0], 60, 0.06)
    assert [images for _, _, images, _ in pairs[1:]] == [10] * 7


def test_origins_between_meetings():
    """Ranks that meet after every third step: what they do adds up; where they come from is that of the first."""
    steps = np.arange(7.0)[:, None] + np.array([0.0, 10.0])
    parts = until_meetings({"network": steps, "data": steps}, np.array([False, False, True, False, False, True, False]))
    assert parts["network"].tolist() == [[0, 10], [3, 13]] and parts["data"].tolist() == [[3, 33], [12, 42]]
    none = until_meetings({"network": steps, "data": steps}, np.full(7, False))
    assert none["network"].shape == none["data"].shape == (0, 2)
