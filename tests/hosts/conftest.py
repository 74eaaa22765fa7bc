"""Several network hosts on this machine. Started by tests/sandboxed.sh."""
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

PATIENCE_S = 60  # the machine may be busy
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


class Hosts:
    ahead_s = 100  # host2's monotonic clock, where there are time namespaces; else 0

    def __init__(self):
        clock = ["unshare", "--time", "--monotonic", "100", "--fork", "true"]
        if subprocess.run(clock, capture_output=True).returncode != 0:
            self.ahead_s = 0
        self.script("hosts-up.sh", HOSTS="4", AHEAD=f"host2:{self.ahead_s}" if self.ahead_s else "")
        self.script("cable.sh", "rate", "1gbit")

    def script(self, name, *arguments, **environment):
        subprocess.run([ROOT / "tests/hosts" / name, *arguments], env=dict(os.environ, **environment), check=True)

    def start(self, hosts, each, *arguments, agent="/run/hosts/rsh"):
        """mpirun of the program on so many hosts, with so many ranks on each."""
        return subprocess.Popen(list(map(str, [ROOT / "tests/hosts/across-hosts.sh", hosts, each, BRIGADE, *arguments])),
                                cwd=ROOT, env=dict(ENVIRONMENT, RSH_AGENT=str(agent)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, hosts, each, *arguments):
        process = self.start(hosts, each, *arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out + err

    def ranks(self, host=None):
        """Process ids of the program's ranks, on one host or on all of the sandbox's."""
        if host:
            pids = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=True).stdout.split()
        else:
            pids = [path.name for path in pathlib.Path("/proc").iterdir() if path.name.isdigit()]
        return [int(pid) for pid in pids if self.is_rank(pid)]

    @staticmethod
    def is_rank(pid):
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # empty of a zombie
        except OSError:
            return False
        return command[0] == str(BRIGADE).encode()

    def wait(self, happened, complaint):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if result := happened():
                return result
            time.sleep(0.05)
        pytest.fail(complaint())


@pytest.fixture(scope="session")
def hosts():
    return Hosts()


@pytest.fixture(scope="session")
def dataset(hosts, tmp_path_factory):
    source = write_blocks(tmp_path_factory.mktemp("idx"))
    directory = tmp_path_factory.mktemp("dataset") / "blocks"
    code, output = hosts.run(2, 1, "shard", "--source", source, "--output", directory, "--samples-per-shard", 128)
    assert code == 0, output
    return directory
