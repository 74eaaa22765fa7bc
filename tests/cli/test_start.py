"""Ranks that were not started alike: one message that shows the difference, and the right exit code."""
import os
import shutil
import socket
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


# What commands would do together with different options, and what the message says of them. Datasets need not be there:
# options are compared before they are used.
DIFFERENCES = [
    ("evaluate --dataset d", "--run a", "--run b", ["--run is a on rank 0 on ", "b on rank 1 on "]),
    ("evaluate --dataset d --run r", "", "--split train", ["--split is test on rank 0 on ", "train on rank 1 on "]),
    ("evaluate --dataset d --run r --worst 3", "", "--help", ["--help is set on rank 1 on ", "unset on rank 0 on "]),
    ("inspect", "--dataset a", "--dataset b", ["--dataset is a on rank 0 on ", "b on rank 1 on "]),
    ("shard --source s --output o", "", "--shards 3", ["--shards is 0 on rank 0 on ", "3 on rank 1 on "]),
    ("models", "lenet5", "vgg16", ["the command is models lenet5 on rank 0 on ", "models vgg16 on rank 1 on "]),
    ("bench", "allreduce", "io", ["the command is bench allreduce on rank 0 on ", "bench io on rank 1 on "]),
    ("bench allreduce --min-bytes 4K", "--max-bytes 8K", "--max-bytes 1M", ["--max-bytes is 1M on rank 1 on ", "8K on rank 0 on "]),
    ("bench io --dataset d", "", "--batches 7", ["--batches is 20 on rank 0 on ", "7 on rank 1 on "]),
    ("bench kernels", "", "--batch-size 2", ["--batch-size is ", " 2 on rank 1 on "]),
]


@pytest.mark.parametrize("command, first, second, said", DIFFERENCES)
def test_other_options_of_any_command(command, first, second, said):
    message = only_error(start(*([BRIGADE, *command.split(), *own.split()] for own in (first, second))), 2)
    assert message.startswith("brigade: error: the ranks do not agree: ") and all(words in message for words in said), message


def make_dataset(brigade, directory, train_samples, test_samples):
    (directory / "idx").mkdir(parents=True)
    write_idx(directory / "idx", "train", *blocks(train_samples, 1))
    write_idx(directory / "idx", "t10k", *blocks(test_samples, 2))
    result = brigade("shard", "--source", directory / "idx", "--output", directory / "data")
    assert result.code == 0, result.all_err


@pytest.fixture(scope="module")
def two_places(brigade, tmp_path_factory):
    """Directories that ranks see under one name, as node-local ones are: in each "idx", "data", and "r", a run."""
    places = []
    for samples in (300, 301):
        places.append(tmp_path_factory.mktemp("place"))
        make_dataset(brigade, places[-1], samples, 50)
        result = brigade(*train("data", "r", "--batch-size", 8)[1:], cwd=places[-1])
        assert result.code == 0, result.all_err
    return places


def sharing(name, places, directory):
    """The same places, but that they have one thing in common."""
    second = shutil.copytree(places[1], directory / "second")
    shutil.rmtree(second / name)
    shutil.copytree(places[0] / name, second / name)
    return [places[0], second]


def in_places(places, *arguments):
    return start(*(["sh", "-c", f'cd {place} && exec "$@"', "sh", *arguments] for place in places))


@pytest.mark.parametrize("command", ["train --run s", "evaluate --checkpoint r/checkpoints/step-00000001", "inspect", "bench io"])
def test_another_dataset_under_the_same_name(two_places, tmp_path, command):
    places = sharing("r", two_places, tmp_path)
    message = only_error(in_places(places, BRIGADE, *command.split(), "--dataset", "data"), 3)
    assert "manifest.json of the dataset is CRC-32C " in message
    assert "samples of split 'train' is 300 on rank 0 on " in message and "301 on rank 1 on " in message


def test_another_checkpoint_under_the_same_name(two_places, tmp_path):
    places = sharing("data", two_places, tmp_path)
    message = only_error(in_places(places, BRIGADE, "evaluate", "--run", "r", "--dataset", "data"), 3)
    assert "manifest.json of the checkpoint is CRC-32C " in message and "on rank 1 on " in message


def test_other_images_under_the_same_name(two_places):
    message = only_error(in_places(two_places, BRIGADE, "shard", "--source", "idx", "--output", "new"), 3)
    assert "split 'train' is 300 samples of 10 classes on rank 0 on " in message and "301 samples of " in message
    assert not any((place / "new").exists() for place in two_places)


def test_more_ranks_than_samples(brigade, tmp_path):
    make_dataset(brigade, tmp_path, 3, 2)
    few = ["train", "--dataset", tmp_path / "data", "--run", tmp_path / "r", "--network", "lenet5", "--epochs", 1]
    assert "4 ranks, but only 3 training samples" in only_error(brigade(*few, "--batch-size", 4, ranks=4), 2)
    result = brigade(*few, "--batch-size", 3, ranks=3)  # two test images among three ranks
    assert result.code == 0, result.all_err


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_preflight_names_ranks_on_one_processor(dataset, tmp_path):
    one = str(min(os.sched_getaffinity(0)))
    result = start(*2 * [["taskset", "--cpu-list", one, *train(dataset, tmp_path / "r", "--preflight")]])
    assert result.code == 0, result.all_err
    host, count = socket.gethostname(), os.sysconf("SC_NPROCESSORS_ONLN")
    assert (f"preflight: ranks 0, 1 of host {host} share processor {one} of {count} with 2 threads (left to nobody: {count - 1}). "
            "Bind with `mpirun --map-by slot:PE=1`") in result.all_err, result.all_err
    assert f"the only link within a node, rank 0 on {host} and rank 1 on {host}: " in result.out, result.out


@pytest.mark.parametrize("ranks", [1, 3])
def test_mpi_without_threads(brigade, dataset, tmp_path, ranks):
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
    result = brigade(*train(dataset, tmp_path / "r")[1:], ranks=ranks, environment={"LD_PRELOAD": str(tmp_path / "low.so")})
    assert "does not allow threads (level 0 of at least 1)" in only_error(result, 2)
