"""The scripts of jobs/, submitted with sbatch to a real Slurm of four nodes."""
import csv
import json
import os
import re

import pytest

from conftest import BRIGADE

TRAIN = ["--network", "lenet5", "--batch-size", 40, "--learning-rate", 0.02]
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


def read_json(path):
    return json.loads(path.read_text())


def steps(run, rank):
    with open(run / f"steps-{rank:05}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_logged(run, ranks, count):
    """Every rank logged every step once, and all saw the same loss."""
    assert len(list(run.glob("steps-*.csv"))) == ranks
    losses = [row["loss"] for row in steps(run, 0)]
    for rank in range(ranks):
        rows = steps(run, rank)
        assert [int(row["step"]) for row in rows] == list(range(count)), rank
        assert [row["loss"] for row in rows] == losses, rank


def test_train_on_two_nodes(slurm, dataset, tmp_path):
    job = slurm.submit("--export=ALL,PREFLIGHT=yes", "--ntasks-per-node=2", "--cpus-per-task=1", "--output", tmp_path / "out",
                       "jobs/train.sbatch", "--dataset", dataset, "--run", tmp_path / "run", "--epochs", 3, *TRAIN)
    state = slurm.wait_for_state(job, *ENDED)
    output = (tmp_path / "out").read_text()
    assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), output

    info, summary = read_json(tmp_path / "run/run.json"), read_json(tmp_path / "run/summary.json")
    assert info["ranks"] == 4 and info["threads_per_rank"] == 1
    assert [info["hosts"].count(host) for host in sorted(set(info["hosts"]))] == [2, 2]
    assert info["environment"]["SLURM_JOB_ID"] == job and info["environment"]["SLURM_NTASKS"] == "4"
    assert summary["exit_reason"] == "done" and summary["steps"] == 45
    assert summary["val_accuracy"] > 0.9, output
    assert "preflight in " in output and "of 4 ranks and " in output
    assert_logged(tmp_path / "run", ranks=4, count=45)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="ranks cannot be bound to two processors")
def test_mpirun_binds_a_rank_to_the_processors_of_a_task(slurm, dataset, tmp_path):
    job = slurm.submit("--export=ALL,LAUNCHER=mpirun", "--cpus-per-task=2", "--output", tmp_path / "out", "jobs/train.sbatch",
                       "--dataset", dataset, "--run", tmp_path / "run", "--max-steps", 3, *TRAIN)
    state = slurm.wait_for_state(job, *ENDED)
    assert state["JobState"] == "COMPLETED", (tmp_path / "out").read_text()
    info = read_json(tmp_path / "run/run.json")
    assert (info["ranks"], len(set(info["hosts"])), info["threads_per_rank"]) == (2, 2, 2)


def test_requeued_after_a_signal_and_resumed_exactly(slurm, dataset, tmp_path):
    """What Slurm does before the time limit, two minutes of which no test wants to wait for."""
    options = ["--dataset", dataset, "--epochs", 30, "--validation-split", "none", *TRAIN]
    whole = slurm.submit("--output", tmp_path / "whole.out", "jobs/train.sbatch", "--run", tmp_path / "whole", *options)
    job = slurm.submit("--output", tmp_path / "out", "jobs/train.sbatch", "--run", tmp_path / "run", *options)
    slurm.wait((tmp_path / "run/run.json").exists, lambda: (tmp_path / "out").read_text())
    slurm.run("scancel", "--batch", "--signal=USR1", job)

    # Requeued; Slurm would let it wait for two minutes, in which also the last of the old step ends.
    slurm.wait_for_state(job, "PENDING")
    slurm.wait(lambda: not slurm.remains_of(job), lambda: f"{slurm.remains_of(job)} did not end")
    assert read_json(tmp_path / "run/summary.json")["exit_reason"] == "stopped early"
    slurm.run("scontrol", "update", f"jobid={job}", "starttime=now")
    state = slurm.wait_for_state(job, *ENDED)
    output = (tmp_path / "out").read_text()
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1"), output
    assert "back into the queue" in output and "resuming after step" in output  # appended, not replaced

    assert slurm.wait_for_state(whole, *ENDED)["JobState"] == "COMPLETED", (tmp_path / "whole.out").read_text()
    for run in (tmp_path / "whole", tmp_path / "run"):
        assert read_json(run / "summary.json")["exit_reason"] == "done"
        assert_logged(run, ranks=2, count=450)
    assert [row["loss"] for row in steps(tmp_path / "run", 0)] == [row["loss"] for row in steps(tmp_path / "whole", 0)]


def test_not_requeued_for_ever(slurm, dataset, tmp_path):
    job = slurm.submit("--nodes=1", "--export=ALL,MAX_RESTARTS=0", "--output", tmp_path / "out", "jobs/train.sbatch",
                       "--dataset", dataset, "--run", tmp_path / "run", "--epochs", 10000, *TRAIN)
    slurm.wait((tmp_path / "run/run.json").exists, lambda: (tmp_path / "out").read_text())
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    state = slurm.wait_for_state(job, *ENDED)
    assert (state["JobState"], state["ExitCode"]) == ("FAILED", "75:0")
    assert "not requeued again after 0 restarts" in (tmp_path / "out").read_text()


def test_sweep(slurm, dataset, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("# rates\n--learning-rate 0.02\n\n--learning-rate '0.001' --optimizer adam\n")
    job = slurm.submit("--array=1-3", "--output", tmp_path / "out-%a", "jobs/sweep.sbatch", lines, tmp_path / "runs",
                       "--dataset", dataset, "--network", "lenet5", "--batch-size", 40, "--epochs", 2)
    ends = [slurm.wait_for_state(f"{job}_{task}", *ENDED)["ExitCode"] for task in (1, 2, 3)]
    assert ends == ["0:0", "0:0", "2:0"], (tmp_path / "out-1").read_text()
    assert "line 3 of 2 does not exist" in (tmp_path / "out-3").read_text()
    options = [read_json(tmp_path / f"runs/{line}/run.json")["options"] for line in (1, 2)]
    assert [(o["learning-rate"], o["optimizer"]) for o in options] == [("0.02", "sgd"), ("0.001", "adam")]


def test_a_line_of_a_sweep_is_requeued(slurm, dataset, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("--learning-rate 0.02\n--learning-rate 0.001\n")
    job = slurm.submit("--array=2", "--output", tmp_path / "out-%a", "jobs/sweep.sbatch", lines, tmp_path / "runs", "--dataset", dataset,
                       "--network", "lenet5", "--batch-size", 40, "--epochs", 10000)
    output, run = tmp_path / "out-2", tmp_path / "runs/2"
    slurm.wait((run / "run.json").exists, output.read_text)
    slurm.run("scancel", "--batch", "--signal=USR1", f"{job}_2")
    state = slurm.wait_for_state(f"{job}_2", "PENDING", *ENDED)
    assert (state["JobState"], state["Restarts"], state["ArrayTaskId"]) == ("PENDING", "1", "2"), output.read_text()
    assert "stopped early with a checkpoint: back into the queue" in output.read_text()
    assert read_json(run / "summary.json")["exit_reason"] == "stopped early"
    slurm.run("scancel", job)


def test_tasks_that_cannot_find_each_other(slurm, dataset, tmp_path):
    result = slurm.run("srun", "--nodes=2", "--ntasks=3", "--mpi=none", BRIGADE, "train", "--dataset", dataset,
                       "--run", tmp_path / "run", *TRAIN)
    errors = [line for line in result.stderr.splitlines() if line.startswith("brigade: error")]
    assert result.returncode == 2 and len(errors) == 1, result.stderr
    assert "srun started 3 tasks, but gave them no way to find each other" in errors[0]
    assert not (tmp_path / "run").exists()


def test_other_ranks_than_granted(slurm, dataset, tmp_path):
    train = [BRIGADE, "train", "--dataset", dataset, "--run", tmp_path / "run", "--max-steps", 3, *TRAIN]

    def salloc(*launcher):
        result = slurm.run("salloc", "--nodes=2", "--ntasks-per-node=1", *launcher, *train)
        return result.returncode, [line for line in result.stderr.splitlines() if line.startswith("brigade: error")]

    code, errors = salloc()
    assert code == 2 and len(errors) == 1 and "Slurm granted 2 tasks, but MPI started 1 rank (1 on " in errors[0]
    code, errors = salloc("mpirun", "-n", 1)
    assert code == 2 and len(errors) == 1 and "Slurm granted 2 tasks, but MPI started 1 rank (1 on n" in errors[0]
    code, errors = salloc("mpirun", "--map-by", "ppr:2:node", "--oversubscribe", "-n", 2)
    assert code == 2 and len(errors) == 1 and "Slurm granted 2 nodes, but MPI uses 1 (2 on n" in errors[0]
    assert not (tmp_path / "run").exists()
    code, errors = salloc("mpirun")
    assert code == 0 and read_json(tmp_path / "run/summary.json")["steps"] == 3, errors


def test_io_benchmark_of_one_and_two_ranks(slurm, tmp_path):
    """As many ranks read as are asked for, up to the whole allocation, and the report knows of all."""
    out = tmp_path / "io"
    job = slurm.submit("--cpus-per-task=1", "--output", tmp_path / "out", "jobs/io-benchmark.sbatch", "--output", out,
                       "--work", tmp_path / "work", "--synthesise", 40, "--image-size", 16, "--batch-size", 4, "--batches", 3,
                       "--repetitions", 2, "--format", "raw,files")
    state = slurm.wait_for_state(job, *ENDED)
    output = (tmp_path / "out").read_text()
    assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), output
    assert [len(list((out / name).glob("io-*.csv"))) for name in ("ranks-1", "ranks-2")] == [1, 2]
    assert len(set(read_json(out / "ranks-2/run.json")["hosts"])) == 2
    report = read_json(out / "ranks-1/report/io.json")
    assert {row["way"] for row in report["speeds"]} == {"raw shards", "image files"}
    assert {row["values"] for row in report["regressions"] if row["parameter"] == "ranks"} == {2}


STUDY = ["bash", "jobs/scaling-study.sh", "--repetitions", 1, "--steps", 20, "--batch-size", 40]


def test_scaling_study(slurm, dataset, tmp_path):
    """A job for each strategy, node count and mode, and one that waits for them and makes the report."""
    result = slurm.run(*STUDY, "--dataset", dataset, "--nodes", "1 2", "--strategies", "ring parameter-server", "--out", tmp_path,
                       "--sbatch", "--account=physics --comment=study --cpus-per-task=2 --time=00:05:00", "--", "--network", "lenet5")
    assert result.returncode == 0, result.stderr
    submitted, report = re.match(r"8 jobs submitted \(([\d:]+)\); job (\d+) makes", result.stdout).groups()
    assert slurm.wait_for_state(report, *ENDED)["JobState"] == "COMPLETED", (tmp_path / "report.out").read_text()
    for job in submitted.split(":"):
        run = slurm.job(job)
        assert run["JobState"] == "COMPLETED"
        assert (run["Account"], run["Comment"], run["TimeLimit"], run["CPUs/Task"]) == ("physics", "study", "00:05:00", "2")
    of_report = slurm.job(report)
    assert (of_report["Account"], of_report["Comment"], of_report["TimeLimit"]) == ("physics", "study", "00:15:00")
    assert [of_report[number] for number in ("NumNodes", "NumTasks", "CPUs/Task")] == ["1", "1", "1"]
    assert [read_json(tmp_path / f"ring-{name}-1/run.json")["global_batch"] for name in ("strong-2", "weak-2")] == [40, 80]
    roles = read_json(tmp_path / "parameter-server-weak-2-1/run.json")["roles"]
    assert roles == ["worker", "worker", "server"]
    with open(tmp_path / "report/scaling.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    four = [("strong", "1"), ("strong", "2"), ("weak", "1"), ("weak", "2")]
    assert [(row["kind"], row["nodes"]) for row in rows] == 2 * four
    assert [float(row["nodes_with_servers"]) for row in rows] == [2, 3, 2, 3, 1, 2, 1, 2]
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    page = (tmp_path / "report/index.html").read_text()
    assert "What limits scaling" in page and "What more such nodes would do" in page
    assert "by the model fitted to 4 runs: ring" in page and "parameter servers make none" in page


def test_scaling_study_on_this_machine(slurm, dataset, tmp_path):
    local = [*STUDY, "--dataset", dataset, "--local", "--mode", "strong", "--out", tmp_path, "--nodes"]
    result = slurm.run(*local, "1 2", "--", "--network", "lenet5")
    assert result.returncode == 0 and "strong scaling, 40 images a step" in result.stdout, result.stderr
    assert "ranks of one machine say nothing of a network" in result.stdout
    assert len({read_json(path)["threads_per_rank"] for path in tmp_path.glob("*/run.json")}) == 1
    again = slurm.run(*local, "1 2")
    assert again.returncode == 0 and again.stdout.count("is finished (remove") == 2
    bad = slurm.run(*local, "1 two")
    assert bad.returncode == 2 and "'two' is no positive number" in bad.stderr
    unknown = slurm.run(*local, "1", "--strategies", "ring horovod")
    assert unknown.returncode == 2 and "'horovod' is none of multi-worker," in unknown.stderr
