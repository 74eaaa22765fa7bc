"""Ranks on several hosts, with cables of 1 Gbit/s between them."""
import csv
import json
import os
import re
import signal

import pytest

TRAIN = ["--network", "lenet5", "--batch-size", 48, "--learning-rate", 0.02, "--threads", 1]


def steps(run, rank):
    with open(run / f"steps-{rank:05}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def losses(run):
    return [row["loss"] for row in steps(run, 0)]


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


def test_ranks_have_one_clock(hosts, dataset, tmp_path):
    """Whatever their hosts' clocks show: who comes last to a sum comes before it ends, and nobody comes before the last one ended."""
    if hosts.ahead_s == 0:
        pytest.skip("no time namespaces: all hosts have one clock")
    code, output = hosts.run(3, 1, "train", "--dataset", dataset, "--run", tmp_path / "run", "--epochs", 3, *TRAIN)
    assert code == 0, output
    arrived = [[float(row["reduce_arrive_s"]) for row in steps(tmp_path / "run", rank)] for rank in range(3)]
    assert [len(times) for times in arrived] == [36, 36, 36]
    apart_s = 0.02  # what half a round trip may be on a busy machine; the clocks are 100 s apart
    for now, then in zip(list(zip(*arrived))[1:], zip(*arrived)):
        assert min(now) > max(then) - apart_s, (then, now)
    assert 0 < arrived[1][0] < arrived[0][-1] < hosts.ahead_s / 2, arrived


def test_preflight_names_a_slow_cable(hosts, dataset, tmp_path):
    hosts.script("cable.sh", "rate", "100mbit", "host3")
    try:
        code, output = hosts.run(4, 1, "train", "--preflight", "--dataset", dataset, "--run", tmp_path / "run", "--max-steps", 1, *TRAIN)
    finally:
        hosts.script("cable.sh", "rate", "1gbit", "host3")
    assert code == 0, output
    slow = [line.partition(" carries ")[0] for line in output.splitlines() if line.startswith("preflight: ") and " carries " in line]
    assert slow == ["preflight: the link of rank 1 on host2 and rank 2 on host3", "preflight: the link of rank 2 on host3 and rank 3 on host4"]
    rates = [link["bytes_per_s"] for link in json.loads((tmp_path / "run/run.json").read_text())["links"]]
    assert max(rates[1:3]) < 13.5e6 < min(rates[0], rates[3]), rates  # 12.5 MB/s, and what the shaper lets through at once


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
def endless(request, hosts, dataset, tmp_path):
    """A training on three hosts that only an accident ends; its first steps are done. Parameter: --hang-timeout."""
    process = hosts.start(3, 1, "train", "--dataset", dataset, "--run", tmp_path / "run", "--epochs", 10**6,
                          "--validation-split", "none", "--checkpoint-every", 0, "--hang-timeout", getattr(request, "param", 300), *TRAIN)
    log = tmp_path / "run/steps-00002.csv"
    hosts.wait(lambda: process.poll() is not None or log.exists() and log.read_text().count("\n") > 2,
               lambda: "training does not begin")
    assert process.poll() is None, process.stderr.read()
    yield process
    process.kill()
    process.communicate()


def assert_all_end(hosts, process, code=None):
    out, err = process.communicate(timeout=60)
    assert process.returncode == code if code else process.returncode != 0, err
    hosts.wait(lambda: not hosts.ranks(), lambda: f"orphans: {hosts.ranks()}\n{err}")
    return err


def test_a_killed_rank_ends_the_job(hosts, endless):
    [victim] = hosts.ranks("host3")
    os.kill(victim, signal.SIGKILL)
    err = assert_all_end(hosts, endless)
    assert "host3" in err and "signal 9 (Killed)" in err, err


@pytest.mark.parametrize("endless", [2], indirect=True)
def test_a_stopped_rank_is_named_by_the_others(hosts, endless, tmp_path):
    """By whichever of the two that wait loses patience first; it says so on stderr and in the run directory. What the victim sent before it
    stopped may have let one of the two into the next step, while the other still waits for its bytes: then that is said, too."""
    [victim] = hosts.ranks("host3")
    os.kill(victim, signal.SIGSTOP)
    assert_all_end(hosts, endless, code=5)
    failures = [json.loads(path.read_text()) for path in sorted((tmp_path / "run").glob("failure-*.json"))]
    assert failures and {failure["rank"] for failure in failures} <= {0, 1}, failures
    for failure in failures:
        done = len(steps(tmp_path / "run", failure["rank"]))
        assert (failure["host"], failure["phase"], failure["step"]) == (f"host{1 + failure['rank']}", "training", done)
        said = re.fullmatch(rf"rank {failure['rank']} on host {failure['host']} waited ([\d.]+) s in 'the sum of gradients of step {done}' "
                            r"\(no answer from rank 2 on host host3"
                            rf"(?:; rank {1 - failure['rank']} waits in 'the sum of gradients of step (\d+)')?\)\. Is .*\?", failure["problem"])
        assert said and float(said[1]) >= 2, failure
        assert said[2] is None or abs(int(said[2]) - done) == 1, failure


def test_a_host_that_is_dead_at_launch(hosts, tmp_path):
    """mpirun waits for the host's daemon as long as its rsh agent waits for the host, and says which one that was."""
    rsh = tmp_path / "rsh"  # as ssh ends with ConnectTimeout=3
    rsh.write_text('#!/bin/sh\n[ "$1" != host3 ] || { sleep 3; echo "connect to host $1: Connection timed out" >&2; exit 255; }\n'
                   'exec /run/hosts/rsh "$@"\n')
    rsh.chmod(0o755)
    process = hosts.start(3, 1, "models", agent=rsh)
    err = assert_all_end(hosts, process)
    assert "connect to host host3: Connection timed out" in err and "ORTE was unable to reliably start one or more daemons" in err, err


def test_a_host_that_is_gone_ends_the_job(hosts, endless):
    """Last, for the cable stays cut. Also the ranks on that host end: their daemon misses mpirun."""
    assert len(hosts.ranks()) == 3
    hosts.script("cable.sh", "cut", "host3")
    err = assert_all_end(hosts, endless)
    assert "host3" in err, err
