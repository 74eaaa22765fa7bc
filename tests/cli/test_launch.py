"""What Slurm granted against what MPI started, with variables as Slurm would set them (a real one: tests/slurm)."""
import subprocess

import pytest

from conftest import BRIGADE, ENVIRONMENT, Result

BY_MPIRUN = ["OMPI_UNIVERSE_SIZE=3"]
# Tasks of srun have none of mpirun's variables, and know how many they are.
BY_SRUN = ["--unset=OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS=3", "SLURM_PROCID=0", "SLURM_NTASKS=3"]
NO_DATASET = "manifest.json"  # the error that comes after these checks


def start(variables, *arguments, ranks=0):
    """Each rank with these variables, of which mpirun must not know: it would ask Slurm for nodes."""
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] if ranks else []
    command = [*launcher, "env", *variables, str(BRIGADE), *map(str, arguments)]
    return Result(subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT))


def train_on_three(tmp_path, *variables):
    result = start([*variables, "SLURM_JOB_ID=7"], "train", "--dataset", tmp_path / "none", "--run", tmp_path / "r", ranks=3)
    assert len(result.errors) == 1, result.all_err
    return result.code, result.errors[0]


@pytest.mark.parametrize("launcher", [BY_MPIRUN, BY_SRUN])
@pytest.mark.parametrize("by_nodes", ["2,1", "1(x3)"])
def test_ranks_on_other_nodes_than_granted(tmp_path, launcher, by_nodes):
    code, message = train_on_three(tmp_path, *launcher, f"SLURM_TASKS_PER_NODE={by_nodes}")
    assert code == 2 and f"Slurm granted tasks by nodes as {by_nodes}, but MPI placed its ranks otherwise (3 on " in message
    assert "`mpirun --map-by ppr:N:node`, N tasks a node?" in message


@pytest.mark.parametrize("by_nodes", ["3", "3(x1)", "2(x", "2(x0),1", "1(x99999999)"])
def test_ranks_as_granted_or_a_distribution_that_cannot_be_read(tmp_path, by_nodes):
    code, message = train_on_three(tmp_path, *BY_SRUN, f"SLURM_TASKS_PER_NODE={by_nodes}")
    assert code == 3 and NO_DATASET in message, message


def test_of_a_job_on_more_nodes_by_a_daemon_of_mpirun(tmp_path):
    """Ranks that it starts have the variables of the daemon's step, which has one task a node."""
    daemon = [*BY_MPIRUN, "SLURM_STEP_ID=0", "SLURM_TASKS_PER_NODE=1(x2)"]
    code, message = train_on_three(tmp_path, *daemon, "SLURM_JOB_NUM_NODES=2")
    assert code == 2 and "Slurm granted 2 nodes, but MPI uses 1 (3 on " in message
    code, message = train_on_three(tmp_path, *daemon, "SLURM_JOB_NUM_NODES=1")
    assert code == 3 and NO_DATASET in message, message


@pytest.mark.parametrize("task", [0, 1])
def test_tasks_of_which_mpi_sees_one(task):
    """srun has an --mpi type of its own for them, which this MPI does not speak: only the first task says so."""
    result = start([f"PMI_RANK={task}", "SLURM_STEP_NUM_TASKS=2", f"SLURM_PROCID={task}"], "models")
    assert (result.code, result.out) == (2, "")
    assert [line[:63] for line in result.errors] == ["brigade: error: srun started 2 tasks, but MPI sees 1 rank (srun"] * (task == 0)


def test_tasks_of_which_mpi_sees_some():
    result = start(["--unset=OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS=4", "SLURM_PROCID=0"], "models", ranks=3)
    assert result.code == 2 and len(result.errors) == 1 and "srun started 4 tasks, but MPI sees 3 ranks (" in result.errors[0]
