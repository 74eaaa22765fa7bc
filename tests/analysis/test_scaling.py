"""Scaling studies over runs with known answers."""
import json

import numpy as np
import pandas as pd
import pytest
from synthetic_run import Synthetic, write_run

from brigade_analysis import scaling_report, scaling_words, words
from brigade_analysis.__main__ import main
from brigade_analysis.crowding import Crowding
from brigade_analysis.exchange import Sums, sums_of
from brigade_analysis.load import load_run
from brigade_analysis.outlook import outlook
from brigade_analysis.scaling import find_series, measure, names_of, scaling_table
from brigade_analysis.stragglers import straggler_table
from brigade_analysis.wire import of_sums, to_servers

PLAIN = {"epochs": 1, "ranks_per_host": 1, "evaluated": False, "validates": False}


def measured(directory, name, **run):
    return measure(load_run(write_run(directory / name, Synthetic(**{**PLAIN, **run}))))


@pytest.fixture
def study(tmp_path):
    """On one node a step of 36.5 ms without exchange; on two, 3 ms of it."""
    base = {"exchange_s": 0.0, "sent_bytes": 0, "hidden_bytes": 0}
    return [measured(tmp_path, "one", ranks=1, images=64, **base),
            measured(tmp_path, "strong", ranks=2, images=32, wait_data_s=0.0005, forward_s=0.005, backward_s=0.01),
            measured(tmp_path, "weak", ranks=2, images=64)]


def test_series_are_found_by_their_batches(study):
    strong, weak = sorted(find_series(study), key=lambda series: series.kind)
    assert (strong.kind, strong.batch, [p.count for p in strong.points]) == ("strong", 64, [1, 2])
    assert (weak.kind, weak.batch, [p.count for p in weak.points]) == ("weak", 64, [1, 2])
    assert strong.unit == "node" and "fashion-cnn" in strong.label and "1 rank × 1 thread a node" in strong.label
    assert strong.points[1].runs[0].name == "strong" and weak.points[1].runs[0].name == "weak"


def test_efficiency_and_what_was_lost(study):
    strong, weak = sorted(find_series(study), key=lambda series: series.kind)
    one, two = 0.0335, 0.0005 + 0.005 + 0.01 + 0.003 + 0.002 + 0.0005
    assert strong.points[0].step_s == pytest.approx(one, abs=2e-6)
    assert strong.points[1].efficiency == pytest.approx(one / 2 / two, rel=1e-3)
    assert weak.points[1].efficiency == pytest.approx(one / (one + 0.003), rel=1e-3)
    for series in (strong, weak):
        assert sum(series.points[1].lost.values()) == pytest.approx(1 - series.points[1].efficiency, abs=1e-4)
    assert weak.points[1].lost["exchange"] == pytest.approx(0.003 / (one + 0.003), rel=1e-2)
    assert strong.points[1].lost["optimizer"] == pytest.approx(0.001 / two, rel=1e-2)  # did not become half


def test_ranks_are_counted_where_there_is_one_host(tmp_path):
    runs = [measured(tmp_path, str(ranks), ranks=ranks, ranks_per_host=8) for ranks in (1, 2)]
    [series] = find_series(runs)
    assert (series.unit, series.kind) == ("rank", "weak") and runs[1].wire_bytes == 0


def test_other_networks_and_algorithms_are_other_series(tmp_path):
    runs = [measured(tmp_path, f"{kind}{ranks}", ranks=ranks, options={"allreduce": kind})
            for kind in ("ring", "hierarchical") for ranks in (1, 2)]
    assert [series.label.split(", ")[1] for series in find_series(runs)] == ["ring", "hierarchical"]
    assert find_series([runs[0], runs[3]]) == []


def test_repetitions_give_errors(tmp_path):
    runs = [measured(tmp_path, f"{ranks}-{i}", ranks=ranks, exchange_s=exchange)
            for ranks in (1, 2) for i, exchange in enumerate((0.003, 0.004, 0.005))]
    [series] = find_series(runs)
    rates = [64 / (0.0335 + exchange) for exchange in (0.003, 0.004, 0.005)]
    error = np.std(rates, ddof=1) / np.sqrt(3)
    assert series.points[0].error == pytest.approx(error, rel=1e-2)
    assert series.points[1].efficiency_error == pytest.approx(np.sqrt(2) * error / np.mean(rates), rel=2e-2)


def test_the_cost_counts_servers(tmp_path):
    """Two workers of a node each, and a server on a third: an epoch costs three nodes' time."""
    runs = [measured(tmp_path, str(ranks), ranks=ranks, ranks_per_host=1, options={"strategy": "parameter-server", "async": "yes"})
            for ranks in (1, 2)]
    for run in runs:
        run.all_nodes, run.all_ranks = run.nodes + 1, run.ranks + 1
    [series] = [s for s in find_series(runs) if s.kind == "weak"]
    assert series.label.startswith("fashion-cnn, parameter-server with 1 asynchronous server")
    two = series.points[1]
    assert two.cost == pytest.approx(3 * two.mean(lambda run: run.images_per_epoch) / two.images_per_second)
    assert (two.all_count, two.efficiency_of_all) == (3, pytest.approx(two.efficiency * 2 / 3)) and series.served
    assert "67 % of 3" in scaling_words.text_table(series) and "with servers" in scaling_report.series_table(series)


def test_series_are_told_apart_by_name(tmp_path):
    runs = [measured(tmp_path, f"{kind}-{ranks}", ranks=ranks, options={"allreduce": kind}) for kind in ("ring", "mpi") for ranks in (1, 2)]
    assert names_of(find_series(runs)) == ["ring", "mpi"]
    assert names_of(find_series(runs[:2])) == [s.title for s in find_series(runs[:2])]
    assert len(set(scaling_report.looks(12))) == 12


def test_crowded_points_are_named(study):
    """Threads that share processors are no nodes."""
    weak = [series for series in find_series(study) if series.kind == "weak"][0]
    assert "share" not in " ".join(scaling_words.limits(weak, None))
    for run in weak.points[-1].runs:
        run.crowding = Crowding(threads=4, processors=2)
    assert "4 threads share 2 processors of one machine: computation can be 50 % as quick" in " ".join(scaling_words.limits(weak, None))


def test_ranks_that_meet_now_and_then_are_judged_by_whole_rounds(tmp_path):
    """Local SGD: every fifth step has 20 ms of average, which a typical step has not."""
    path = write_run(tmp_path / "run", Synthetic(**PLAIN, ranks=2, options={"strategy": "local-sgd", "sync-every": "5"}))
    for log in path.glob("steps-*.csv"):
        rows = pd.read_csv(log)
        rows.loc[rows["step"] % 5 == 4, ["reduce_wait_s", "step_s"]] += 0.020
        rows.to_csv(log, index=False)
    run = measure(load_run(path))
    assert run.step_s == pytest.approx(0.0365 + 0.020 / 5, abs=1e-6)
    assert run.parts_s["exchange"] == pytest.approx(0.003 + 0.020 / 5, abs=1e-6)
    met = run.analysis.steps[run.analysis.met]
    assert len(met) == 8 and (met % 5 == 4).all()  # 40 steady steps


def test_bytes_on_the_wire():
    sent, hosts = np.array([10.0, 20.0, 30.0, 40.0]), ["a", "a", "b", "b"]
    assert of_sums(sent, hosts, Sums("ring")) == 40  # the last rank of each node
    assert of_sums(sent, hosts, Sums("ring", node_memory=True)) == 70
    assert of_sums(sent, ["a"] * 4, Sums("ring")) == 0 and np.isnan(of_sums(sent, hosts, Sums("mpi")))
    halving = Sums("halving-doubling")
    assert of_sums(np.full(4, 150.0), hosts, halving) == 100  # of 100 summed, 1.5 a rank: half of it in the node


def test_bytes_of_parameter_servers_are_those_of_the_busiest_link():
    assert to_servers(np.array([10.0, 10.0]), ["a", "b"], ["s"]) == 20  # the server's
    assert to_servers(np.array([10.0, 10.0]), ["a", "b"], ["s", "t"]) == 10
    assert to_servers(np.array([10.0]), ["a"], ["s"]) == 10 and to_servers(np.array([10.0]), ["a"], ["a"]) == 0
    assert to_servers(np.array([10.0, 30.0]), ["a", "b"], ["a", "b"]) == 15  # b pushes half of 30 to a


def test_parts_that_are_lost_add_up_over_unlike_repetitions(tmp_path):
    runs = [measured(tmp_path, f"{ranks}-{i}", ranks=ranks, exchange_s=0.001 * ranks + 0.003 * i, images=64 // ranks)
            for ranks in (1, 2) for i in (0, 1)]
    [series] = [one for one in find_series(runs) if one.kind == "strong"]
    assert sum(series.points[1].lost.values()) == pytest.approx(1 - series.points[1].efficiency, abs=1e-9)


def test_sums_are_those_of_run_json(tmp_path):
    """A short sum at the end goes another way than most of the bytes."""
    path = write_run(tmp_path / "run", Synthetic(buckets=(1500000, 250000), wire="bf16"))
    info = json.loads((path / "run.json").read_text())
    info["sums"].append({"bytes": 50000, "node_memory": True, "between": "halving-doubling", "wire": "fp32"})
    (path / "run.json").write_text(json.dumps(info))
    sums = sums_of(load_run(path))
    assert sums == Sums("ring", True, "bf16", (1.5e6, 2.5e5, 5e4)) and sums.last_share == pytest.approx(1 / 36)
    del info["sums"]
    (path / "run.json").write_text(json.dumps(info))
    assert sums_of(load_run(path)) == Sums()


def test_what_limits_in_words(study):
    weak = [series for series in find_series(study) if series.kind == "weak"][0]
    sentences = " ".join(scaling_words.limits(weak, link_gbps=0.5))
    assert "efficiency at 2 nodes is 92 %" in sentences and "exposed allreduce 8.2 %" in sentences
    assert "hands 50 % of it over before backward ends" in sentences
    assert "0.40 Gbit/s on average: links of 0.5 Gbit/s are 80 % busy" in sentences  # 1.82 MB in 36.5 ms
    assert "Half the bytes (--wire bf16, by ring) would give about 2.9 % more" in sentences  # 29 ms halved, the last 14 % not hidden
    assert "together" not in sentences and "always ready" not in sentences


@pytest.mark.parametrize("phase, cause", [("backward", "slow compute"), ("wait_data", "slow data")])
def test_stragglers_by_cause(tmp_path, phase, cause):
    run = measured(tmp_path, "run", ranks=4, late={(2, phase): 0.010, (1, "forward"): 0.002})
    late = straggler_table(run)
    assert late["rank"].to_list()[:2] == [2, 1]
    assert late["cause"].to_list() == [cause, "slow compute", "", ""] and late["host"][0] == "node2"
    assert late["worst_s"][0] == pytest.approx(0.010, rel=0.05) and late["worst_s"][1] == pytest.approx(0.002, rel=0.05)
    assert "rank 2 on node2 (" + cause in scaling_words.late_ranks(late)


def test_a_slow_link_is_neither_compute_nor_data(tmp_path):
    """Rank 3 leaves every sum 5 ms after the others, and so begins the next step later; its optimizer takes 20 us longer, too."""
    directory = write_run(tmp_path / "run", Synthetic(**PLAIN, ranks=4))
    log = pd.read_csv(directory / "steps-00003.csv")
    log.loc[0, "reduce_wait_s"] += 0.005
    log.loc[1:, ["start_s", "reduce_arrive_s"]] += 0.00502
    log.loc[1:, "reduce_wait_s"] -= 2e-5
    log["optimizer_s"] += 2e-5
    log.to_csv(directory / "steps-00003.csv", index=False)
    run = measure(load_run(directory))
    late = straggler_table(run)
    assert (late["rank"][0], late["cause"][0]) == (3, "slow network")
    assert late["slow_network_s"][0] == pytest.approx(0.005, rel=0.01) and late["late_begin_s"][0] == pytest.approx(2e-5, rel=0.1)
    assert set(late["cause"][1:]) == {""}
    straggler = run.analysis.straggler  # and so says the report of the run
    assert straggler.named and (straggler.rank, straggler.cause) == (3, "network")
    assert straggler.excess_s["network"] == pytest.approx(0.005, rel=0.01)
    assert "the bytes of its neighbour reach it later (5.0" in words.who_is_late(run.analysis)


def test_report_and_its_files(study, tmp_path, capsys):
    names = [str(tmp_path / name) for name in ("one", "strong", "weak")]
    assert main(["scaling", "--output", str(tmp_path / "out"), "--link-gbps", "1", *names, str(tmp_path / "none")]) == 0
    said = capsys.readouterr()
    assert "strong scaling, 64 images a step" in said.out and "none is no directory" in said.err
    table = pd.read_csv(tmp_path / "out/scaling.csv")
    assert table["nodes"].to_list() == [1, 2, 1, 2]
    one_epoch = 2 * 50 * 64 / table["images_per_second"][1]  # nodes, steps, images
    assert table["node_seconds_per_epoch"][1] == pytest.approx(one_epoch)
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("<svg") == 6 and "exposed allreduce" in page
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html", "scaling.csv", "stragglers.csv", "scaling-throughput-strong.svg", "scaling-efficiency-strong.svg",
        "scaling-throughput-weak.svg", "scaling-efficiency-weak.svg", "scaling-split-0.svg", "scaling-split-1.svg"}


def test_what_more_nodes_would_do(study, tmp_path):
    """On a link of which a step of 3 ms exchange says all, 4 nodes take a half more of it: 1.5 K against K bytes."""
    [told] = outlook(find_series(study))
    assert "by the model fitted to 3 runs: ring; 1.82 MB" in told.text
    weak = {row[1]: row for row in told.rows if row[0] == "weak" and row[2] == str(64 * int(row[1]))}
    assert list(weak) == ["2", "4", "8", "16"] and float(weak["2"][3]) == pytest.approx(float(weak["2"][-1]), rel=0.03)
    rates = [float(row[3]) for row in weak.values()]
    assert all(1.8 * a < b < 2 * a for a, b in zip(rates, rates[1:]))
    mpi = [measured(tmp_path, f"mpi-{n}", ranks=n, between="mpi") for n in (1, 2)]
    [none] = outlook(find_series(mpi))
    assert not none.rows and "no prediction, since the runs sum by mpi" in none.text
    one_host = [measured(tmp_path, f"host-{n}", ranks=n, ranks_per_host=8) for n in (1, 2)]
    assert "Nothing is known of more nodes" in outlook(find_series(one_host))[0].for_terminal()


def test_one_node_count_is_no_study(tmp_path, capsys):
    write_run(tmp_path / "run", Synthetic(**PLAIN))
    assert main(["scaling", "--output", str(tmp_path / "out"), str(tmp_path / "run")]) == 3
    assert "no two runs differ in nodes" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_table_has_a_row_a_point(study):
    table = scaling_table(find_series(study))
    assert len(table) == 4 and table["hidden_share"][1] == pytest.approx(0.5)
    assert json.loads(table.to_json())["efficiency"]["0"] == 1
