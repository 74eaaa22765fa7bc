#!/usr/bin/env bash
# How long after a rank was stopped the others have named it: on one host, and on one of three.
#
#   bash tests/hosts/measure-stall.sh [REPETITIONS [HANG_TIMEOUT_S]]      (5 3)
#
# The last rank is stopped (SIGSTOP) in a step of training; the delay until the message that names it is on stderr, and until the job has
# ended, is printed beside --hang-timeout, of which no more than 2 s may be missed. Needs root; takes about a minute and a half.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/common.sh
if [ -z "${IN_SANDBOX:-}" ]; then exec env IN_SANDBOX=1 bash tests/sandbox.sh bash "$0" "$@"; fi
repetitions=${1:-5} timeout=${2:-3}
brigade=$(brigade_binary)
python=$(find_python)
"$python" -c 'import pathlib, sys; sys.path.insert(0, "tests"); import blocks; blocks.write_blocks(pathlib.Path("/tmp"))'
"$brigade" shard --source /tmp --output /tmp/dataset >/dev/null 2>&1
HOSTS=3 bash tests/hosts/hosts-up.sh
bash tests/hosts/cable.sh rate 1gbit
"$python" - "$brigade" "$repetitions" "$timeout" <<'PYTHON'
import os, pathlib, re, signal, subprocess, sys, time
brigade, repetitions, timeout = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


def ranks():
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().split(b"\0")[0] == brigade.encode():
                environment = dict(word.partition(b"=")[::2] for word in (path / "environ").read_bytes().split(b"\0"))
                found[int(environment[b"OMPI_COMM_WORLD_RANK"])] = int(path.name)
        except (OSError, KeyError):
            pass
    return found


def stall(hosts, each, run):
    log = pathlib.Path(run, "steps-00000.csv")
    job = subprocess.Popen(["bash", "tests/hosts/across-hosts.sh", str(hosts), str(each), brigade, "train", "--dataset", "/tmp/dataset",
                            "--run", run, "--network", "lenet5", "--batch-size", "12", "--threads", "1", "--epochs", "1000000",
                            "--validation-split", "none", "--checkpoint-every", "0", "--hang-timeout", str(timeout)],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (log.exists() and log.read_text().count("\n") > 5):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.05)
    victim = hosts * each - 1
    os.kill(ranks()[victim], signal.SIGSTOP)
    stopped, said, text = time.monotonic(), None, b""
    while chunk := os.read(job.stderr.fileno(), 65536):
        text += chunk
        if said is None and re.search(rb"no answer from rank %d on host host%d\)" % (victim, hosts), text):
            said = time.monotonic() - stopped
    assert job.wait() == 5 and said is not None, text.decode()
    return said, time.monotonic() - stopped


for hosts, each in ((1, 3), (3, 1)):
    for repetition in range(repetitions):
        said, ended = stall(hosts, each, f"/tmp/run-{hosts}-{repetition}")
        print(f"{hosts} host{'s' if hosts > 1 else ' '}, {hosts * each} ranks: named after {said:.2f} s, --hang-timeout {timeout:g} s "
              f"+ {said - timeout:.2f}; the job ended after {ended:.2f} s", flush=True)
PYTHON
