"""Ranks on several hosts, with cables of 1 Gbit/s between them."""
import csv
import json
import os
import signal

import pytest

TRAIN = ["--network", "lenet5", "--batch-size", 48, "--learning-rate", 0.02, "--threads", 1]


def losses(run):
    with open(run / "steps-00000.csv", newline="", encoding="utf-8") as file:
        return [row["loss"] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def on_one_host(hosts, dataset, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "one"
    code, output = hosts.run(1, 4, "train", "--dataset", dataset, "--run", run, "--epochs", 3, *TRAIN)
    assert code == 0, output
    return losses(run)


@pytest.mark.parametrize("count, each", [(2, 2), (4, 1)])
def test_the_same_losses_on_any_number_of_hosts(hosts, dataset, on_one_host, tmp_path, count, each):
    """Four ranks: sums through shared memory, through both, and through messages alone are one tree."""
    code, output = hosts.run(count, each, "train", "--dataset", dataset, "--run", tmp_path / "run", "--epochs", 3,
                             "--allreduce", "halving-doubling" if each == 1 else "hierarchical", *TRAIN)
    assert code == 0, output
    names = json.loads((tmp_path / "run/run.json").read_text())["hosts"]
    assert names == [f"host{1 + rank // each}" for rank in range(4)]
    assert losses(tmp_path / "run") == on_one_host and len(on_one_host) == 36


def test_ring_sums_are_right(hosts, tmp_path):
    code, output = hosts.run(4, 1, "bench", "allreduce", "--min-bytes", "64K", "--max-bytes", "256K", "--repetitions", 2,
                             "--json", tmp_path / "json")
    assert code == 0, output  # every sum was checked
    report = json.loads((tmp_path / "json").read_text())
    assert (report["ranks"], report["ranks_per_node"]) == (4, 1)


def test_a_table_measured_on_these_hosts_chooses_the_algorithm(hosts, dataset, tmp_path):
    table = tmp_path / "table.json"

    def write(nodes, short_bytes):
        row = {"nodes": nodes, "halving_doubling_up_to_bytes": short_bytes, "beside_16_bit_ring_up_to_bytes": 0}
        table.write_text(json.dumps({"brigade_allreduce_table": 1, "nodes": [row]}))

    write(3, 7)
    code, output = hosts.run(2, 2, "bench", "allreduce", "--min-bytes", "16K", "--max-bytes", "64K", "--repetitions", 3,
                             "--table", table, "--json", tmp_path / "json")
    assert code == 0, output
    rows = json.loads((tmp_path / "json").read_text())["rows"]
    assert [row["algorithm"] for row in rows][8:10] == ["hierarchical, ring", "hierarchical, bf16"]
    measured = {row["nodes"]: row["halving_doubling_up_to_bytes"] for row in json.loads(table.read_text())["nodes"]}
    assert measured[2] in (0, 32 << 10, 64 << 10) and measured[3] == 7  # what was there stays

    write(2, 20000)
    train = ["train", "--dataset", dataset, "--max-steps", 1, "--bucket", "8K", "--allreduce-table", table, *TRAIN]
    code, output = hosts.run(2, 2, *train, "--run", tmp_path / "run")
    assert code == 0, output
    info = json.loads((tmp_path / "run/run.json").read_text())
    assert info["allreduce_table"] == {"nodes": 2, "halving_doubling_up_to_bytes": 20000, "source": str(table),
                                       "others": []}
    assert info["options"]["allreduce-table"] == f"{table} (2 nodes: 20000 bytes)"
    chosen = {way: [one["bytes"] for one in info["sums"] if one["between"] == way] for way in ("halving-doubling", "ring")}
    assert max(chosen["halving-doubling"]) <= 20000 < min(chosen["ring"]), chosen
    assert len(info["sums"]) == sum(map(len, chosen.values()))

    code, output = hosts.run(3, 1, *train, "--run", tmp_path / "three")
    assert code == 2 and "has nothing on 3 nodes" in output, output


@pytest.fixture
def endless(hosts, dataset, tmp_path):
    """A training on three hosts that only an accident ends; its first steps are done."""
    process = hosts.start(3, 1, "train", "--dataset", dataset, "--run", tmp_path / "run", "--epochs", 10**6,
                          "--validation-split", "none", "--checkpoint-every", 0, *TRAIN)
    log = tmp_path / "run/steps-00002.csv"
    hosts.wait(lambda: process.poll() is not None or log.exists() and log.read_text().count("\n") > 2,
               lambda: "training does not begin")
    assert process.poll() is None, process.stderr.read()
    yield process
    process.kill()
    process.communicate()


def assert_all_end(hosts, process):
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    hosts.wait(lambda: not hosts.ranks(), lambda: f"orphans: {hosts.ranks()}\n{err}")
    return err


def test_a_killed_rank_ends_the_job(hosts, endless):
    [victim] = hosts.ranks("host3")
    os.kill(victim, signal.SIGKILL)
    err = assert_all_end(hosts, endless)
    assert "host3" in err and "signal 9 (Killed)" in err, err


def test_a_host_that_is_gone_ends_the_job(hosts, endless):
    """Last, for the cable stays cut. Also the ranks on that host end: their daemon misses mpirun."""
    assert len(hosts.ranks()) == 3
    hosts.script("cable.sh", "cut", "host3")
    err = assert_all_end(hosts, endless)
    assert "host3" in err, err
