"""Ranks that hang or are killed, wherever they are: the job ends, says which it was, and leaves no process behind."""
import contextlib
import csv
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from blocks import blocks, write_idx
from conftest import BRIGADE, ENVIRONMENT

# mpirun sees the end of a rank, too, and ends the others: here with more patience than its second, for a busy machine.
PATIENT = ("--mca", "odls_base_sigkill_timeout", 3)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def runs(pid):
    """Not even as a zombie, whose end nobody has asked about yet."""
    try:
        return "\nState:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Job:
    """mpirun and its ranks; none of them outlives the `with`."""

    def __init__(self, command, ranks=2, mpirun=(), environment=None):
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", *mpirun, "-n", ranks, *command]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env=dict(ENVIRONMENT, **(environment or {})))
        self.size, self.ranks = ranks, {}

    def __enter__(self):
        try:
            wait_for(self.all_started)
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        for pid in filter(runs, self.ranks.values()):
            os.kill(pid, signal.SIGKILL)

    def all_started(self):
        """Notes the process ids of the ranks that mpirun has started."""
        found = {}
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                if f"\nPPid:\t{self.process.pid}\n" not in status.read_text():
                    continue
                variables = (status.parent / "environ").read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            for variable in variables:
                if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                    found[int(variable.split(b"=")[1])] = int(status.parent.name)
        self.ranks = found
        return len(found) == self.size

    def strike(self, rank, number, when=lambda: True):
        """Sends a signal to a rank once it is where it should be."""
        wait_for(when)
        os.kill(self.ranks[rank], number)

    def end(self):
        """The job's exit code and stderr."""
        _, errors = self.process.communicate(timeout=60)
        wait_for(lambda: not any(map(runs, self.ranks.values())), 20)  # killed processes take a moment to go
        return self.process.returncode, errors


def endless(dataset, run, *options, network="lenet5", timeout=2):
    return [BRIGADE, "train", "--dataset", dataset, "--run", run, "--network", network, "--epochs", 100000, "--threads", 1,
            "--hang-timeout", timeout, *options]


def has_trained(run):
    steps = run / "steps-00000.csv"
    return steps.exists() and steps.read_text().count("\n") > 1


def writes_a_checkpoint(run):
    return any((run / "checkpoints").glob(".partial-*"))


# Options with which a rank is nearly always in a step.
IN_A_STEP = ["--batch-size", 2, "--checkpoint-every", 0, "--validation-split", "none"]


# As a rank on a node that swaps or hangs is.
def test_a_hanging_rank_is_named(dataset, tmp_path):
    with Job(endless(dataset, tmp_path / "r", *IN_A_STEP)) as job:
        job.strike(1, signal.SIGSTOP, when=lambda: has_trained(tmp_path / "r"))
        code, errors = job.end()
    assert code == 5, errors
    host = socket.gethostname()
    steps_done = len((tmp_path / "r/steps-00000.csv").read_text().splitlines()) - 1  # rows are written out at once
    failure = json.loads((tmp_path / "r/failure-00000.json").read_text())
    assert (failure["rank"], failure["host"], failure["phase"], failure["step"]) == (0, host, "training", steps_done)
    said = re.fullmatch(rf"rank 0 on host {host} waited ([\d.]+) s in 'the sum of gradients of step {steps_done}' "
                        rf"\(no answer from rank 1 on host {host}\)\. Is .*\?", failure["problem"])
    assert said and float(said[1]) >= 2, failure  # --hang-timeout
    assert f"brigade: error on rank 0 ({host}): {failure['problem']}\n" in errors
    assert not (tmp_path / "r/failure-00001.json").exists()


def rows_of(run, rank):
    with open(run / f"steps-{rank:05}.csv", newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


# Ranks of a batch-norm group wait for one another all the time, most of it within forward and backward.
def test_a_pause_of_a_rank_is_not_its_groups_own_time(dataset, tmp_path):
    run = tmp_path / "r"
    with Job(endless(dataset, run, *IN_A_STEP, "--batchnorm-group", 2, network="fashion-cnn", timeout=60)) as job:
        job.strike(1, signal.SIGSTOP, when=lambda: has_trained(run))
        time.sleep(1)
        job.strike(1, signal.SIGCONT)
        seen = len(rows_of(run, 0))
        wait_for(lambda: len(rows_of(run, 0)) > seen + 1)
    longest = max(rows_of(run, 0), key=lambda row: row["step_s"])
    assert longest["step_s"] > 0.9, longest
    assert longest["wait_data_s"] + longest["forward_s"] + longest["backward_s"] < longest["step_s"] / 2, longest


# The average of weights is what ranks meet for; before it comes the optimizer's step.
def test_ranks_of_local_sgd_arrive_at_the_average(brigade, dataset, tmp_path):
    result = brigade("train", "--dataset", dataset, "--run", tmp_path / "r", "--network", "lenet5", "--max-steps", 8, "--batch-size",
                     30, "--strategy", "local-sgd", "--sync-every", 2, "--validation-split", "none", ranks=2)
    assert result.code == 0, result.all_err
    ranks = [rows_of(tmp_path / "r", rank) for rank in range(2)]
    for rows in ranks:
        for row in rows:
            own = sum(row[part] for part in ("start_s", "wait_data_s", "forward_s", "backward_s", "optimizer_s"))
            assert own - 1e-5 < row["reduce_arrive_s"] < row["start_s"] + row["step_s"] + 1e-5, row  # columns have 1 us
    for first, second in list(zip(*ranks))[1::2]:  # both leave the average after the later one has come
        for row, other in ((first, second), (second, first)):
            assert row["start_s"] + row["step_s"] > other["reduce_arrive_s"] - 1e-5, (row, other)


# Rank 2 waits for it in their group, where it is number 1, and the others for both in the sum of gradients.
def test_a_hanging_rank_of_a_group_is_named(dataset, tmp_path):
    options = ["--batch-size", 8, "--batchnorm-group", 2, "--checkpoint-every", 0, "--validation-split", "none"]
    with Job(endless(dataset, tmp_path / "r", *options, network="fashion-cnn"), ranks=4) as job:
        job.strike(3, signal.SIGSTOP, when=lambda: has_trained(tmp_path / "r"))
        code, errors = job.end()
    assert code == 5, errors
    assert "(no answer from rank 3 on host" in errors and "from rank 1" not in errors, errors


# Calls of MPI-IO, in which MPI waits by itself: a rank is stopped in its third read, or stays there, alive.
@pytest.mark.parametrize("how, answer", [
    ("raise(SIGSTOP)", "no sign of life from rank 1 on host"),
    ("sleep(60)", "the ranks of this host are alive"),
], ids=["stopped", "alive"])
def test_a_rank_that_hangs_in_a_collective_read(dataset, tmp_path, how, answer):
    if shutil.which("mpicc") is None:
        pytest.skip("no mpicc")
    (tmp_path / "hang.c").write_text(f"""
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int MPI_File_read_at_all(MPI_File file, MPI_Offset at, void *to, int count, MPI_Datatype type, MPI_Status *status) {{
  static int calls = 0;
  if (++calls == 3 && atoi(getenv("OMPI_COMM_WORLD_RANK")) == 1) {how};
  return PMPI_File_read_at_all(file, at, to, count, type, status);
}}
""")
    subprocess.run(["mpicc", "-shared", "-fPIC", "-o", tmp_path / "hang.so", tmp_path / "hang.c"], check=True)
    with Job(endless(dataset, tmp_path / "r", *IN_A_STEP, "--reader", "collective"),
             mpirun=["-x", f"LD_PRELOAD={tmp_path / 'hang.so'}"]) as job:
        code, errors = job.end()
    assert code == 5, errors
    [line] = [line for line in errors.splitlines() if line.startswith("brigade: error on rank 0")]
    assert "has been in 'reading batch" in line and answer in line, errors
    assert line.endswith(json.loads((tmp_path / "r/failure-00000.json").read_text())["problem"])


def expect_killed(code, errors, rank):
    assert code == 128 + signal.SIGKILL, errors
    assert f"process rank {rank} with PID" in errors and "signal 9" in errors, errors  # mpirun's own words


# Name, options, rank to be killed, and what the other one waits for then, and in which phase of the run.
PLACES = [
    ("step", IN_A_STEP, 1, "the sum of gradients of step", "training"),
    ("checkpoint", ["--batch-size", 600, "--validation-split", "none"], 0, "writing a checkpoint", "checkpoint"),  # by rank 0
    ("validation", ["--batch-size", 20, "--checkpoint-every", 0], 1, "evaluation", "validation"),
    ("worker", [*IN_A_STEP, "--strategy", "parameter-server"], 0, "the workers' pushes", "serving"),
    ("server", [*IN_A_STEP, "--strategy", "parameter-server"], 1, "the sum of gradients of step", "training"),
    ("local-sgd", [*IN_A_STEP, "--strategy", "local-sgd", "--sync-every", 1], 1, "the average of weights after step", "training"),
]


# All at once: a job takes some seconds to end, because mpirun waits for its ranks before it kills them.
def test_a_rank_killed_in_training_is_named(brigade, dataset, tmp_path):
    (tmp_path / "idx").mkdir()
    write_idx(tmp_path / "idx", "train", *blocks(20, 1))
    write_idx(tmp_path / "idx", "t10k", *blocks(5000, 2))  # so that a rank is nearly always in validation
    result = brigade("shard", "--source", tmp_path / "idx", "--output", tmp_path / "validation-data")
    assert result.code == 0, result.all_err
    with contextlib.ExitStack() as jobs:
        struck = []
        for name, options, rank, *_ in PLACES:
            data = tmp_path / "validation-data" if name == "validation" else dataset
            job = jobs.enter_context(Job(endless(data, tmp_path / name, *options), mpirun=PATIENT))
            there = writes_a_checkpoint if name == "checkpoint" else has_trained
            job.strike(rank, signal.SIGKILL, when=lambda: there(tmp_path / name))
            struck.append(job)
        for (name, _, rank, what, phase), job in zip(PLACES, struck):
            code, errors = job.end()
            expect_killed(code, errors, rank)
            [line] = [line for line in errors.splitlines() if line.startswith("brigade: error")]
            assert f"rank {rank} on host" in line and "ended without a word" in line and what in line, errors
            failure = json.loads((tmp_path / name / f"failure-{1 - rank:05}.json").read_text())
            assert failure["phase"] == phase and line.endswith(failure["problem"]), failure


# Before the ranks know one another only the launcher can tell.
def test_a_rank_killed_at_the_start(dataset, tmp_path):
    with Job(endless(dataset, tmp_path / "r", *IN_A_STEP)) as job:
        job.strike(1, signal.SIGKILL)
        expect_killed(*job.end(), 1)


# SIGTERM, which mpirun sends them, ends ranks that ingest before they can say more. What is there is finished next time.
def test_a_rank_killed_in_ingest(brigade, idx, tmp_path):
    output = tmp_path / "data"
    ingest = ["shard", "--source", idx, "--output", output, "--image-size", 512, "--samples-per-shard", 16, "--threads", 1]
    with Job([BRIGADE, *ingest]) as job:
        job.strike(1, signal.SIGKILL, when=lambda: any(output.glob("*.h5")))
        expect_killed(*job.end(), 1)
    assert not (output / "manifest.json").exists()
    result = brigade(*ingest, ranks=2)
    assert result.code == 0, result.all_err
    assert brigade("inspect", "--dataset", output).code == 0
