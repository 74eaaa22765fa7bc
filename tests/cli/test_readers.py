"""Reader modes and orders of samples from the command line."""
import csv
import json
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import BRIGADE, ENVIRONMENT

SHORT = ("--network", "lenet5", "--batch-size", 48, "--max-steps", 3, "--threads", 1)


def losses(run):
    with open(run / "steps-00000.csv") as lines:
        return [row["loss"] for row in csv.DictReader(lines)]


def staged(directory):
    return sorted(directory.glob("brigade-*/*/*.h5"))


@pytest.fixture(scope="module")
def expected(brigade, dataset, tmp_path_factory):
    run = tmp_path_factory.mktemp("mmap") / "run"
    result = brigade("train", "--dataset", dataset, "--run", run, *SHORT, "--reader", "mmap", ranks=2)
    assert result.code == 0, result.all_err
    return losses(run)


@pytest.mark.parametrize("reader", ["auto", "independent", "collective", "preload", "stage"])
def test_every_reader_trains_on_the_same_samples(brigade, dataset, tmp_path, expected, reader):
    shared = set(os.listdir("/dev/shm"))
    result = brigade("train", "--dataset", dataset, "--run", tmp_path / "run", *SHORT, "--reader", reader, "--stage-dir",
                     tmp_path / "stage", "--mpi-io-hints", "romio_cb_read=enable,cb_nodes=1", ranks=2)
    assert result.code == 0, result.all_err
    assert losses(tmp_path / "run") == expected
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["reader"] == ("mmap" if reader == "auto" else reader)
    reads = json.loads((tmp_path / "run" / "summary.json").read_text())["collective_reads"]
    assert reads["calls"] > 0 if reader == "collective" else reads is None
    assert reads is None or 0 < reads["collective"] <= reads["calls"]
    if reader in ("auto", "preload", "stage"):
        assert info["reader_why"] and info["reader_why"] in result.all_err
    assert not [name for name in set(os.listdir("/dev/shm")) - shared if name.endswith("-block")]
    evaluation = brigade("evaluate", "--dataset", dataset, "--run", tmp_path / "run", "--reader", reader, "--stage-dir",
                         tmp_path / "stage", ranks=3)
    assert evaluation.code == 0, evaluation.all_err
    assert "101 images" in evaluation.out


def test_staged_shards_are_used_again_while_they_are_right(brigade, dataset, tmp_path):
    def train(number):
        result = brigade("train", "--dataset", dataset, "--run", tmp_path / str(number), *SHORT, "--reader", "stage",
                         "--stage-dir", tmp_path / "stage")
        assert result.code == 0, result.all_err
        why = json.loads((tmp_path / str(number) / "run.json").read_text())["reader_why"]
        return float(re.search(r"rank 0 copied ([\d.]+) GB", why)[1]), [p.stat().st_mtime_ns for p in staged(tmp_path / "stage")]

    _, first = train(1)
    assert len(first) == len(list(dataset.glob("*.h5")))
    assert train(2)[1] == first
    damaged = staged(tmp_path / "stage")[0]
    bytes_ = bytearray(damaged.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    damaged.write_bytes(bytes_)
    third = train(3)[1]
    assert third[0] != first[0] and third[1:] == first[1:]
    assert damaged.read_bytes() == (dataset / damaged.name).read_bytes()


def test_copies_that_a_killed_process_left_are_removed(brigade, dataset, tmp_path):
    def train(number):
        result = brigade("train", "--dataset", dataset, "--run", tmp_path / str(number), *SHORT, "--reader", "stage",
                         "--stage-dir", tmp_path / "stage")
        assert result.code == 0, result.all_err

    train(1)
    shards = staged(tmp_path / "stage")
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed = shards[0].with_name(f"{shards[0].name}.partial-{ended.pid}")
    running = shards[0].with_name(f"{shards[0].name}.partial-{os.getpid()}")
    for path in (killed, running):
        path.write_bytes(b"half a shard")
    train(2)
    assert not killed.exists() and running.exists() and staged(tmp_path / "stage") == shards


# The first shards fit: nothing of them is used if the others do not.
def test_a_full_disk_while_staging(brigade, dataset, small_disk, tmp_path):
    for ranks, code, text in (1, 2, "cannot be staged to"), (2, 3, "No space left"):
        result = brigade("train", "--dataset", dataset, "--run", tmp_path / "run", *SHORT, "--reader", "stage", "--stage-dir",
                         small_disk / "stage", ranks=ranks)
        assert result.code == code and text in result.errors[0] and "--stage-dir" in result.errors[0], result.all_err
        assert not [path for path in small_disk.rglob("*") if ".partial" in path.name]


def test_a_shard_that_vanishes_before_it_is_copied(brigade, copied_dataset, tmp_path):
    victim = sorted(copied_dataset.glob("train-*.h5"))[1]
    victim.write_bytes(victim.read_bytes()[:-1000])
    for reader in ("preload", "stage", "collective"):
        result = brigade("train", "--dataset", copied_dataset, "--run", tmp_path / reader, *SHORT, "--reader", reader,
                         "--stage-dir", tmp_path / "stage", ranks=2)
        assert result.code == 3
        assert len(result.errors) == 1 and victim.name in result.errors[0]


def test_resume_needs_the_same_order(brigade, dataset, tmp_path):
    run = ("train", "--dataset", dataset, "--run", tmp_path / "run", *SHORT, "--shuffle", "block")
    assert brigade(*run, "--shuffle-block", 16, ranks=2).code == 0
    result = brigade(*run, "--shuffle-block", 32, "--resume")
    assert result.code == 2 and "block of 16" in result.all_err


# 600 images in batches of 96: six whole ones, and 24 images more.
def test_the_last_batch_is_dropped_or_filled_at_any_rank_count(brigade, dataset, tmp_path):
    run = ("train", "--dataset", dataset, "--network", "lenet5", "--batch-size", 96, "--micro-batches", 6, "--epochs", 2,
           "--threads", 1)
    filled = {}
    for ranks in (1, 2, 3):
        result = brigade(*run, "--run", tmp_path / f"fill{ranks}", "--tail", "fill", ranks=ranks)
        assert result.code == 0, result.all_err
        filled[ranks] = [float(loss) for loss in losses(tmp_path / f"fill{ranks}")]
        assert len(filled[ranks]) == 2 * 7
    for ranks in (2, 3):
        assert filled[ranks] == pytest.approx(filled[1], rel=1e-4, abs=1e-6)
    assert brigade(*run, "--run", tmp_path / "drop").code == 0
    dropped = [float(loss) for loss in losses(tmp_path / "drop")]
    assert len(dropped) == 2 * 6 and dropped[:6] == pytest.approx(filled[1][:6], rel=1e-4, abs=1e-6)
    for tail, text in ("fill", "7 an epoch x 2 epochs = 14 (72 images used twice an epoch)"), (
            "drop", "6 an epoch x 2 epochs = 12 (24 images dropped an epoch)"):
        assert text in brigade(*run, "--run", tmp_path / "dry", "--tail", tail, "--dry-run").out
    resumed = brigade(*run, "--run", tmp_path / "fill1", "--resume")
    assert resumed.code == 2 and "last batch filled" in resumed.all_err


# A file that is removed stays readable to those who have it open; one that is cut does not.
@pytest.mark.parametrize("reader, what", [("mmap", "removed"), ("independent", "removed"), ("mmap", "cut"),
                                          ("independent", "cut")])
def test_a_shard_that_goes_during_training(copied_dataset, tmp_path, reader, what):
    run = tmp_path / "run"
    command = [str(BRIGADE), "train", "--dataset", copied_dataset, "--run", run, "--network", "lenet5", "--batch-size", 48,
               "--epochs", 100000, "--threads", 1, "--reader", reader, "--verify", "always", "--validation-split", "none",
               "--checkpoint-every", 0]
    log = run / "steps-00000.csv"
    with subprocess.Popen(list(map(str, command)), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as training:

        def wait_for_steps(number):
            while training.poll() is None and not (log.exists() and log.read_text().count("\n") > number):
                time.sleep(0.01)

        wait_for_steps(5)
        shards = sorted(copied_dataset.glob("train-*.h5"))
        for shard in shards:
            if what == "removed":
                shard.unlink()
            else:
                os.truncate(shard, 1000)
        if what == "removed":
            wait_for_steps(log.read_text().count("\n") + 50)
            training.send_signal(signal.SIGUSR1)
        errors = training.communicate(timeout=60)[1]
    if what == "removed":
        assert training.returncode == 75, errors
    else:
        assert training.returncode == 3 and any(shard.name in errors for shard in shards), errors
        assert len([line for line in errors.splitlines() if line.startswith("brigade: ")]) == 1, errors
    assert not [path for path in run.rglob("*") if ".partial" in path.name]


def test_shuffle_quality(brigade, dataset):
    result = brigade("inspect", "--dataset", dataset, "--shuffle-quality", "--batch-size", 50, "--shuffle-block", 16)
    assert result.code == 0, result.all_err
    rows = {line[:20].strip(): [float(number) for number in line[20:].split()]
            for line in result.out.splitlines() if re.match(r"(std::shuffle|full|block of 16|none) ", line)}
    assert set(rows) == {"std::shuffle", "full", "block of 16", "none"}
    assert rows["none"][3] > 99 and rows["full"][3] < 2
    assert abs(rows["full"][2] - 1) < 0.15 and rows["none"][2] < 0.02


@pytest.mark.parametrize("arguments, text", [
    (("--mpi-io-hints", "cb_nodes"), "KEY=VALUE"),
    (("--shuffle", "block", "--shuffle-block", 0), "--shuffle-block"),
    (("--reader", "psychic"), "auto|mmap|independent|collective|preload|stage"),
    (("--reader", "stage", "--stage-dir", "/proc/nowhere"), "--stage-dir"),
])
def test_bad_options(brigade, dataset, tmp_path, arguments, text):
    result = brigade("train", "--dataset", dataset, "--run", tmp_path / "run", *SHORT, *arguments)
    assert result.code == 2 and text in result.all_err
