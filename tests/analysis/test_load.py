"""Runs that are live, killed or damaged: a note where the rest can be used, else one clear message."""
import json

import pytest
from synthetic_run import Synthetic, write_run

from brigade_analysis.aggregate import analyse
from brigade_analysis.load import RunError, load_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", Synthetic(ranks=2))


def edit(path, change):
    path.write_bytes(change(path.read_bytes()))


def notes(run):
    return " ".join(analyse(load_run(run)).notes)


def test_a_sound_run_needs_no_note(run):
    loaded = load_run(run)
    assert notes(run) == "" and loaded.name == "run"
    assert [len(log) for log in loaded.ranks.values()] == [100, 100]
    assert loaded.ranks[1].loc[99, ["epoch", "step", "images", "sent_bytes"]].to_list() == [2, 99, 64, 1820072]
    assert loaded.evaluation["confusion"].shape == (10, 10) and loaded.summary["epochs"] == 2


# ---- tolerated

def test_last_line_cut_by_a_kill(run):
    edit(run / "steps-00001.csv", lambda data: data[:-100])
    a = analyse(load_run(run))
    assert len(a.run.ranks[1]) == 99 and len(a.steps) == 99 and a.steps[-1] == 98
    assert "The last line of steps-00001.csv is cut off" in notes(run)
    assert "1 of 100 steps was not logged by all 2 ranks" in notes(run)


def test_a_run_under_way(run):
    for name in ("summary.json", "evaluation.json", "epochs.csv"):
        (run / name).unlink()
    a = analyse(load_run(run))
    assert a.run.summary is None and a.run.evaluation is None and len(a.run.epochs) == 0
    assert "has not finished" in notes(run)


def test_a_rank_without_a_log(run):
    (run / "steps-00000.csv").unlink()
    a = analyse(load_run(run))
    assert a.ranks == [1] and "Rank 0 of 2 logged no step" in notes(run)
    assert a.median_images_per_second == pytest.approx(128 / Synthetic().step_s, rel=1e-3)  # of the whole run


def test_logs_of_ranks_that_are_gone(run):
    edit(run / "run.json", lambda data: data.replace(b'"ranks": 2', b'"ranks": 1').replace(b": 128,", b": 64,"))
    assert analyse(load_run(run)).ranks == [0] and "The log of rank 1 is left out" in notes(run)


@pytest.mark.parametrize("name", ["summary.json", "evaluation.json"])
def test_a_damaged_extra_is_left_out(run, name):
    edit(run / name, lambda data: data[:40])
    assert f"{name} is damaged" in notes(run) and "It is left out." in notes(run)


@pytest.mark.parametrize("change, why", [
    (lambda e: e.pop("top1_accuracy"), "'top1_accuracy' is missing"),
    (lambda e: e["confusion"].pop(), "10 classes, but a confusion matrix of shape (9, 10)"),
    (lambda e: e.update(samples="many"), "invalid literal"),
])
def test_an_evaluation_that_says_something_else(run, change, why):
    value = json.loads((run / "evaluation.json").read_text())
    change(value)
    (run / "evaluation.json").write_text(json.dumps(value))
    assert why in notes(run)


def test_a_diverged_loss_is_no_damage(run):
    def change(data):
        *lines, last = data.splitlines()
        fields = last.split(b",")
        return b"\n".join([*lines, b",".join([*fields[:11], b"nan", *fields[12:]]), b""])

    edit(run / "steps-00000.csv", change)
    assert load_run(run).ranks[0]["loss"].isna().sum() == 1


def test_a_step_written_twice_counts_once(run):
    edit(run / "steps-00000.csv", lambda data: data + data.splitlines(keepends=True)[-1])
    assert len(load_run(run).ranks[0]) == 100


# ---- refused

def refused(path):
    with pytest.raises(RunError) as error:
        analyse(load_run(path))
    return str(error.value)


def test_no_run(tmp_path):
    assert "is no directory" in refused(tmp_path / "nothing")
    assert "is no run (it holds no run.json)" in refused(tmp_path)


@pytest.mark.parametrize("text, why", [("{", "run.json is damaged (line 1:"), ("[]", "holds no JSON object"),
                                       ("", "is damaged")])
def test_damaged_run_json(run, text, why):
    (run / "run.json").write_text(text)
    assert why in refused(run)


def test_no_step_yet(run):
    for rank in range(2):
        edit(run / f"steps-{rank:05}.csv", lambda data: data.splitlines(keepends=True)[0])
    assert "holds no step yet" in refused(run)


def test_ranks_without_a_common_step(run):
    for rank, kept in ((0, slice(2, None)), (1, slice(1, 2))):
        header, *rows = (run / f"steps-{rank:05}.csv").read_text().splitlines(keepends=True)
        (run / f"steps-{rank:05}.csv").write_text(header + "".join(rows[kept]))
    assert "no step that all of its 2 ranks logged" in refused(run)


@pytest.mark.parametrize("damage, why", [
    (lambda row: row.replace(b",", b";", 1), "line 18 has 22 columns instead of 23"),
    (lambda row: row + b",7", "line 18 has 24 columns instead of 23"),
    (lambda row: row[:30], "line 18 has "),
    (lambda row: b"\0" * len(row), "line 18 has 1 column instead of 23"),
    (lambda row: row.replace(b",64,", b",sixty,"), "line 18 says 'sixty' for images"),
    (lambda row: row.replace(b",64,", b",,"), "line 18 says '' for images"),
    (lambda row: row.replace(b",64,", b",inf,"), "line 18 says 'inf' for images"),
])
def test_a_damaged_row_is_named(run, damage, why):
    def change(data):
        lines = data.split(b"\n")
        lines[17] = damage(lines[17])
        return b"\n".join(lines)

    edit(run / "steps-00001.csv", change)
    assert f"steps-00001.csv, {why}" in refused(run)


def test_other_columns(run):
    edit(run / "steps-00000.csv", lambda data: data.replace(b"reduce_wait_s", b"reduce_s", 1))
    assert "has no column reduce_wait_s" in refused(run)


def test_an_empty_validation_is_no_damage_but_an_empty_loss_is(tmp_path):
    path = write_run(tmp_path, Synthetic(validates=False))
    assert load_run(path).epochs["val_accuracy"].isna().all()
    edit(path / "epochs.csv", lambda data: data.replace(b"1,50,0.7,", b"1,50,,", 1))
    assert "line 2 says '' for train_loss" in refused(path)


def test_ranks_that_gave_up_on_others_are_quoted(tmp_path):
    path = write_run(tmp_path / "run", Synthetic())
    start_s = json.loads((path / "run.json").read_text())["process_start_s"]
    failure = {"rank": 1, "host": "node0", "phase": "training", "step": 7, "time": "2025-01-01T12:00:09Z",
               "problem": "no answer from rank 0 on host node0"}
    for name, time_s in (("failure-00001.json", start_s + 9), ("failure-00000.json", start_s - 1)):  # of this start, of one before
        (path / name).write_text(json.dumps(failure | {"time_s": time_s}))
    said = [note for note in load_run(path).notes if "gave up" in note]
    assert said == ["Rank 1 on node0 gave up in training, step 7, at 2025-01-01T12:00:09Z: no answer from rank 0 on host node0"]
    (path / "failure-00001.json").write_text("{")
    assert any("failure-00001.json is damaged" in note for note in load_run(path).notes)
