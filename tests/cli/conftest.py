"""The built program and a tiny dataset for the tests of the command line."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from blocks import write_blocks

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


@pytest.fixture(scope="session")
def idx(tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("idx"))


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


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", directory]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield directory
    subprocess.run(["umount", directory], check=True)
