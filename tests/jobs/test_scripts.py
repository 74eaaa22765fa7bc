"""The scripts of jobs/ without Slurm: what they would start and submit (what a real Slurm makes of that: tests/slurm)."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "jobs").iterdir() if "\n#SBATCH" in path.read_text())
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "OMPI_", "OMP_"))}


class Machine:
    """Programs that stand in for those of a machine, and note how they were called."""

    def __init__(self, directory):
        self.programs, self.log = directory / "bin", directory / "calls"
        self.programs.mkdir()
        self.log.touch()

    def add(self, name, does="true"):
        path = self.programs / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>{self.log}\n{does}\n')
        path.chmod(0o755)

    def bash(self, *command, **environment):
        path = f"{self.programs}:{OUTSIDE['PATH']}"
        return subprocess.run(["bash", *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
                              env=dict(OUTSIDE, PATH=path, **{name: str(value) for name, value in environment.items()}))

    def calls(self, name):
        return [line.removeprefix(f"{name} ") for line in self.log.read_text().splitlines() if line.startswith(f"{name} ")]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


# ---- what the ranks are bound to

def launcher_of(machine, ranks, processors, **environment):
    machine.add("nproc", f"echo {processors}")
    result = machine.bash("-c", f'set -euo pipefail; . jobs/common.sh; choose_launcher {ranks}; echo "${{launcher[*]}}"', **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("ranks, processors, command", [
    (2, 2, "mpirun -n 2 --map-by slot:PE=1 --use-hwthread-cpus"),
    (2, 8, "mpirun -n 2 --map-by slot:PE=4 --use-hwthread-cpus"),
    (3, 8, "mpirun -n 3 --map-by slot:PE=2 --use-hwthread-cpus"),
    (3, 2, "mpirun -n 3 --oversubscribe --bind-to none"),
    ("all", 8, "mpirun"),
])
def test_ranks_share_this_machine(machine, ranks, processors, command):
    assert launcher_of(machine, ranks, processors) == command


def test_more_options_go_last(machine):
    command = launcher_of(machine, 1, 2, MPIRUN_OPTIONS="--bind-to none")
    assert command == "mpirun -n 1 --map-by slot:PE=2 --use-hwthread-cpus --bind-to none"


JOB = {"SLURM_JOB_ID": 17, "SLURM_CPUS_PER_TASK": 4, "SLURM_CPUS_ON_NODE": 8}


@pytest.mark.parametrize("ranks, processors, environment, command", [
    ("all", 8, {}, "mpirun --map-by slot:PE=4 --use-hwthread-cpus"),
    ("all", 16, {}, "mpirun --map-by slot:PE=4"),  # Slurm counts cores of two threads each, or Linux shows other jobs', too
    (16, 8, {}, "mpirun -n 16 --map-by slot:PE=4 --use-hwthread-cpus"),  # on several nodes
    ("all", 8, {"SLURM_CPUS_PER_TASK": ""}, "mpirun"),
])
def test_mpirun_binds_ranks_to_what_slurm_granted(machine, ranks, processors, environment, command):
    assert launcher_of(machine, ranks, processors, **(JOB | {"LAUNCHER": "mpirun"} | environment)) == command


def test_srun_is_told_of_processors(machine):
    command = '. jobs/common.sh; choose_launcher 3; echo "${launcher[*]}, $SRUN_CPUS_PER_TASK, $SLURM_PMIX_FENCE"'
    result = machine.bash("-c", command, SRUN_OPTIONS="--overlap --quiet", **JOB)
    assert result.stdout.strip() == "srun --mpi=pmix --kill-on-bad-exit=1 --ntasks=3 --overlap --quiet, 4, ring"


@pytest.mark.parametrize("topology, ranks, processors, bindings", [
    ("pack:1 core:4 pu:2", 2, 8, ["BB/BB/../..", "../../BB/BB"]),
    ("pack:1 core:4 pu:2", 8, 8, ["B./../../..", ".B/../../..", "../B./../..", "../.B/../..", "../../B./..", "../../.B/..",
                                  "../../../B.", "../../../.B"]),
    ("pack:2 core:2 pu:1", 2, 4, ["B/B][./.", "./.][B/B"]),
])
def test_open_mpi_understands_it_so(machine, topology, ranks, processors, bindings):
    """A machine that hwloc makes up: [core/core][core/core], B where bound, a letter each hardware thread."""
    if shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun")
    command = launcher_of(machine, ranks, processors, MPIRUN_OPTIONS="--host localhost:8 --display-devel-map --do-not-launch")
    result = machine.bash("-c", f"{command} true", HWLOC_SYNTHETIC=topology, HWLOC_THISSYSTEM=1, OMPI_ALLOW_RUN_AS_ROOT=1,
                          OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)
    assert re.findall(r"^\s+Binding: \[(.*)\]$", result.stdout, re.M) == bindings, result.stdout + result.stderr


@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_are_bound_to_equal_shares(machine, tmp_path, ranks):
    allowed = os.sched_getaffinity(0)
    if shutil.which("mpirun") is None or len(allowed) < 2:
        pytest.skip("there is no mpirun, or only one processor")
    own = tmp_path / "rank.py"
    own.write_text("import os\nopen('share-' + os.environ['OMPI_COMM_WORLD_RANK'], 'w').write(repr(os.sched_getaffinity(0)))\n")
    command = f". jobs/common.sh; run_ranks {ranks} sh -c 'cd {tmp_path} && exec {sys.executable} rank.py'"
    result = machine.bash("-c", command, OMP_NUM_THREADS=1)
    shares = [set(map(int, re.findall(r"\d+", path.read_text()))) for path in tmp_path.glob("share-*")]
    assert [len(share) for share in shares] == [len(allowed) // ranks] * ranks, result.stderr
    assert len(set().union(*shares)) == len(allowed) // ranks * ranks


# ---- back into the queue

@pytest.mark.parametrize("code, restarts, environment, requeued, says", [
    (75, 0, {}, ["requeue 18"], "back into the queue"),
    (75, 0, {"SLURM_ARRAY_JOB_ID": 17, "SLURM_ARRAY_TASK_ID": 3}, ["requeue 17_3"], "back into the queue"),
    (75, 2, {"SLURM_ARRAY_JOB_ID": 17, "SLURM_ARRAY_TASK_ID": 3}, [], "not requeued again after 2 restarts"),
    (4, 0, {}, [], ""),
    (0, 0, {}, [], ""),
])
def test_requeue(machine, code, restarts, environment, requeued, says):
    """A task of an array has a number of its own, 18, by which Slurm would requeue it; its own name says which line it is."""
    machine.add("srun", f"exit {code}")
    machine.add("scontrol")
    result = machine.bash("jobs/train.sbatch", "--run", "r", BRIGADE="brigade", SLURM_JOB_ID=18, SLURM_RESTART_COUNT=restarts,
                          SLURM_SUBMIT_DIR=ROOT, MAX_RESTARTS=2, **environment)
    assert result.returncode == code and says in result.stdout + result.stderr
    assert machine.calls("scontrol") == requeued
    assert machine.calls("srun") == ["--mpi=pmix --kill-on-bad-exit=1 brigade train --resume --preflight --run r"]


# ---- the scaling study

def study(machine, out, *arguments, **environment):
    return machine.bash("jobs/scaling-study.sh", "--dataset", "d", "--mode", "strong", "--repetitions", 1, "--out", out, *arguments,
                        **({"BRIGADE": "brigade"} | environment))


def threads_of(calls):
    return [re.findall(r"--threads[ =](\d+)", call) for call in calls]


@pytest.mark.parametrize("options, train_options, threads", [
    (["--nodes", "1 2 4"], [], 2),
    (["--nodes", "1 2", "--strategies", "ring parameter-server", "--servers", 3], [], 1),  # of five ranks
    (["--nodes", "1 16"], [], 1),
    (["--nodes", "1 2"], ["--threads", 3], 3),
    (["--nodes", "1 2"], ["--threads=3"], 3),
])
def test_ranks_of_a_local_study_have_as_many_threads_in_all_runs(machine, tmp_path, options, train_options, threads):
    machine.add("nproc", "echo 8")
    machine.add("mpirun")
    study(machine, tmp_path / "out", "--local", *options, "--", *train_options)  # ends with "no run can be read", for there is none
    calls = machine.calls("mpirun")
    assert len(calls) >= 2 and threads_of(calls) == [[str(threads)]] * len(calls)


def test_under_slurm_threads_are_what_is_granted(machine, tmp_path):
    machine.add("sbatch", "echo 5")
    result = study(machine, tmp_path / "out", "--nodes", "1 2")
    assert result.stdout == f"2 jobs submitted (5:5); job 5 makes {tmp_path}/out/report when they have ended\n", result.stderr
    assert threads_of(machine.calls("sbatch")) == [[], [], []]


@pytest.mark.parametrize("where", [[], ["--local"]])
def test_what_the_report_needs_is_missed_before_anything_runs(machine, tmp_path, where):
    for program in ("sbatch", "mpirun"):
        machine.add(program)
    machine.add("python", f'exec {sys.executable} -S -E "$@"')
    result = study(machine, tmp_path / "out", *where, PYTHON=machine.programs / "python")
    assert result.returncode == 2 and "has no numpy, pandas, matplotlib, scipy" in result.stderr
    assert machine.calls("sbatch") + machine.calls("mpirun") == [] and not (tmp_path / "out").exists()


def test_a_study_of_nothing(machine, tmp_path):
    result = study(machine, tmp_path / "out", "--nodes", "")
    assert (result.returncode, result.stderr) == (2, "scaling-study: --nodes and --strategies want one at least\n")


# ---- headers and module file

@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_headers_explain_every_directive(script):
    text = script.read_text()
    header = "".join(line for line in text.partition("set -euo")[0].splitlines(True) if not line.startswith("#SBATCH"))
    directives = re.findall(r"^#SBATCH (--[a-z-]+)", text, re.M)
    explained = [name for line in re.findall(r"^# (--.*?)(?:  |$)", header, re.M) for name in re.findall(r"--[a-z-]+", line)]
    assert directives and set(explained) == set(directives)
    assert "GPU" in header


def test_module_file(tmp_path):
    """As the `module` command would read it: it is a program in Tcl."""
    if shutil.which("tclsh") is None:
        pytest.skip("there is no tclsh")
    template = (ROOT / "jobs/modulefile.in").read_text()
    assert template.startswith("#%Module1.0\n")
    [substitute] = re.findall(r'sed ("s.*?") jobs/modulefile.in', template)
    filled = subprocess.run(["bash", "-c", f"sed {substitute} jobs/modulefile.in"], cwd=ROOT, capture_output=True, text=True, check=True)
    (tmp_path / "module").write_text(filled.stdout)
    (tmp_path / "read.tcl").write_text("""
foreach command {module-whatis conflict prepend-path setenv} { proc $command args "puts \\[join \\[list $command {*}\\$args] |]" }
source [lindex $argv 0]
""")
    result = subprocess.run(["tclsh", tmp_path / "read.tcl", tmp_path / "module"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if not line.startswith("module-whatis|")] == [
        "conflict|brigade", f"prepend-path|PATH|{ROOT}/analysis", f"prepend-path|PATH|{ROOT}/build/release/src/cli",
        f"setenv|BRIGADE_ROOT|{ROOT}", "setenv|SLURM_PMIX_FENCE|ring"]
    assert os.access(ROOT / "analysis/brigade-analysis", os.X_OK)
