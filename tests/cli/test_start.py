"""Ranks that were not started alike: one message that shows the difference, and the right exit code."""
import os
import shutil
import subprocess

import pytest

from blocks import blocks, write_idx
from conftest import BRIGADE, ENVIRONMENT, Result


def start(*ranks):
    """Each rank with a command line of its own."""
    command = ["mpirun", "--oversubscribe", "--bind-to", "none"]
    for number, arguments in enumerate(ranks):
        command += [":"] * (number > 0) + ["-n", "1", *map(str, arguments)]
    return Result(subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT))


def train(dataset, run, *options, brigade=BRIGADE):
    return [brigade, "train", "--dataset", dataset, "--run", run, "--network", "lenet5", "--max-steps", 1, *options]


def only_error(result, code):
    assert result.code == code and len(result.errors) == 1, result.all_err
    return result.errors[0]


def test_other_options(dataset, tmp_path):
    run = tmp_path / "r"
    ranks = [[], ["--batch-size", 60], []]
    message = only_error(start(*(train(dataset, run, "--bucket", "1M", *own) for own in ranks)), 2)
    assert "--batch-size is 128 on ranks 0, 2, 60 on rank 1 on " in message and "--bucket" not in message
    assert not run.exists()


def test_threads_may_differ(dataset, tmp_path):
    result = start(*(train(dataset, tmp_path / "r", "--threads", threads) for threads in (1, 2)))
    assert result.code == 0, result.all_err


def test_another_program(dataset, tmp_path):
    other = tmp_path / "brigade"
    shutil.copy(BRIGADE, other)
    with open(other, "ab") as file:
        file.write(b"\0")
    message = only_error(start(*(train(dataset, tmp_path / "r", brigade=program) for program in (BRIGADE, other))), 2)
    assert "the program is version" in message and f"{other.stat().st_size} bytes) on rank 1 on " in message


def test_another_command(dataset, tmp_path):
    message = only_error(start(train(dataset, tmp_path / "r"), [BRIGADE, "inspect", "--dataset", dataset]), 2)
    assert "the command is inspect on rank 1 on " in message


def make_dataset(brigade, directory, train_samples, test_samples):
    (directory / "idx").mkdir(parents=True)
    write_idx(directory / "idx", "train", *blocks(train_samples, 1))
    write_idx(directory / "idx", "t10k", *blocks(test_samples, 2))
    result = brigade("shard", "--source", directory / "idx", "--output", directory / "data")
    assert result.code == 0, result.all_err


def test_another_dataset_under_the_same_name(brigade, tmp_path):
    # A directory that each rank sees otherwise, as node-local ones are.
    ranks = []
    for rank, samples in enumerate([300, 301]):
        make_dataset(brigade, tmp_path / str(rank), samples, 50)
        ranks.append(["sh", "-c", f'cd {tmp_path / str(rank)} && exec "$@"', "sh", *train("data", tmp_path / "r")])
    message = only_error(start(*ranks), 3)
    assert "manifest.json of the dataset is " in message and "300 on rank 0 on " in message and "301 on rank 1 on " in message


def test_more_ranks_than_samples(brigade, tmp_path):
    make_dataset(brigade, tmp_path, 3, 2)
    few = ["train", "--dataset", tmp_path / "data", "--run", tmp_path / "r", "--network", "lenet5", "--epochs", 1]
    assert "4 ranks, but only 3 training samples" in only_error(brigade(*few, "--batch-size", 4, ranks=4), 2)
    result = brigade(*few, "--batch-size", 3, ranks=3)  # two test images among three ranks
    assert result.code == 0, result.all_err


def test_mpi_without_threads(dataset, tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (tmp_path / "low.c").write_text("""
int PMPI_Init_thread(int *argc, char ***argv, int required, int *provided);
int MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
  int result = PMPI_Init_thread(argc, argv, required, provided);
  *provided = 0;
  return result;
}
""")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "low.so", tmp_path / "low.c"], check=True)
    result = Result(subprocess.run(list(map(str, train(dataset, tmp_path / "r"))), capture_output=True, text=True, timeout=60,
                                   env=dict(ENVIRONMENT, LD_PRELOAD=str(tmp_path / "low.so"))))
    assert "does not allow threads" in only_error(result, 2)
