"""The built program and a tiny dataset for the tests of the command line."""
import gzip
import os
import pathlib
import struct
import subprocess

import numpy
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BRIGADE = pathlib.Path(os.environ.get("BRIGADE", ROOT / "build/release/src/cli/brigade"))
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


class Result:
    """Exit code, and what the program itself printed (mpirun's own lines about exit codes are left out)."""

    def __init__(self, process):
        self.code, self.out = process.returncode, process.stdout
        self.all_err = process.stderr
        self.errors = [line for line in process.stderr.splitlines() if line.startswith("brigade: error")]


@pytest.fixture(scope="session")
def brigade():
    """brigade("train", "--run", ..., ranks=2) -> Result"""

    def run(*arguments, ranks=1, timeout=120, cwd=None, environment=None):
        command = [str(BRIGADE), *map(str, arguments)]
        if ranks > 1:
            command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *command]
        return Result(subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd,
                                     env=dict(ENVIRONMENT, **(environment or {}))))

    return run


def blocks(count, seed):
    """28x28 images of ten classes, each with a bright block at its own place, under noise."""
    generator = numpy.random.default_rng(seed)
    labels = generator.integers(0, 10, count, dtype=numpy.uint8)
    images = generator.integers(0, 100, (count, 28, 28), dtype=numpy.uint8)
    for image, label in zip(images, labels):
        row, column = label // 4 * 9, label % 4 * 7
        image[row:row + 7, column:column + 7] = 200
    return images, labels


def write_idx(directory, name, images, labels):
    with gzip.open(directory / f"{name}-images-idx3-ubyte.gz", "wb") as out:
        out.write(struct.pack(">IIII", 0x803, *images.shape) + images.tobytes())
    with gzip.open(directory / f"{name}-labels-idx1-ubyte.gz", "wb") as out:
        out.write(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())


@pytest.fixture(scope="session")
def idx(tmp_path_factory):
    directory = tmp_path_factory.mktemp("idx")
    write_idx(directory, "train", *blocks(600, 1))
    write_idx(directory, "t10k", *blocks(101, 2))
    return directory


@pytest.fixture(scope="session")
def dataset(brigade, idx, tmp_path_factory):
    directory = tmp_path_factory.mktemp("dataset") / "blocks"
    result = brigade("shard", "--source", idx, "--output", directory, "--samples-per-shard", 128, ranks=2)
    assert result.code == 0, result.all_err
    return directory


@pytest.fixture
def copied_dataset(dataset, tmp_path):
    """A dataset to damage."""
    target = tmp_path / "damaged"
    subprocess.run(["cp", "-r", dataset, target], check=True)
    return target
