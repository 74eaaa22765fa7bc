"""A real Slurm on this machine, and what its jobs left. Started by tests/sandboxed.sh."""
import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BRIGADE = pathlib.Path(os.environ.get("BRIGADE", ROOT / "build/release/src/cli/brigade"))
sys.path.insert(0, str(ROOT / "tests"))
from blocks import write_blocks

PATIENCE_S = 60  # the machine may be busy; a test that works waits for a second or two


class Slurm:
    def __init__(self, directory):
        subprocess.run([ROOT / "tests/slurm/slurm-up.sh", directory], check=True)
        self.directory = pathlib.Path(directory)
        self.environment = dict(os.environ, SLURM_CONF=f"{directory}/slurm.conf", BRIGADE=str(BRIGADE),
                                OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                                PREFLIGHT="no")

    def run(self, *command):
        return subprocess.run(list(map(str, command)), cwd=ROOT, env=self.environment, capture_output=True, text=True,
                              timeout=PATIENCE_S)

    def submit(self, *arguments):
        """The number of the job."""
        result = self.run("sbatch", "--parsable", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def job(self, number):
        """What `scontrol show job` says: JobState, ExitCode, Restarts ..."""
        result = self.run("scontrol", "--oneliner", "show", "job", number)
        assert result.returncode == 0, result.stderr
        return dict(word.split("=", 1) for word in result.stdout.split() if "=" in word)

    def remains_of(self, number):
        """Sockets of slurmstepds that still run a step of this job."""
        return list(self.directory.glob(f"spool/*/stepd.slurm.pmix.{number}.*"))

    def wait_for_state(self, number, *states):
        return self.wait(lambda: (job := self.job(number))["JobState"] in states and job,
                         lambda: f"job {number} did not become {states}: {self.job(number)}")

    def wait(self, happened, complaint):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if result := happened():
                return result
            time.sleep(0.1)
        pytest.fail(complaint())


@pytest.fixture(scope="session")
def slurm():
    return Slurm("/var/tmp/slurm")


@pytest.fixture(scope="session")
def dataset(slurm, tmp_path_factory):
    source = write_blocks(tmp_path_factory.mktemp("idx"))
    directory = tmp_path_factory.mktemp("dataset") / "blocks"
    result = slurm.run(BRIGADE, "shard", "--source", source, "--output", directory, "--samples-per-shard", 128)
    assert result.returncode == 0, result.stderr
    return directory
