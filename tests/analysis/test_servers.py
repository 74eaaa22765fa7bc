"""Parameter servers and stale gradients, of runs with known answers."""
import json

import numpy as np
import pytest
from synthetic_run import STEP_HEADER, Synthetic, write_run

from brigade_analysis import words
from brigade_analysis.__main__ import main
from brigade_analysis.aggregate import analyse
from brigade_analysis.load import load_run
from brigade_analysis.servers import about_servers, quantile, server_table, staleness_counts

UPDATES = 40


def write_served(path, asynchronous=True, busy_s=0.001, servers=1):
    """Two workers and servers with an update every 10 ms, of which they wait all but `busy_s`."""
    write_run(path, Synthetic(ranks=2, epochs=1, steps_per_epoch=20, evaluated=False, staleness=(0, 1, 1, 2),
                              options={"async": "yes" if asynchronous else "no", "staleness": "4"}))
    info = json.loads((path / "run.json").read_text())
    info |= {"roles": ["worker"] * 2 + ["server"] * servers, "hosts": info["hosts"] + ["keeper"] * servers}
    (path / "run.json").write_text(json.dumps(info))
    for rank in range(2, 2 + servers):
        loss = "0.5" if rank == 2 else "nan"
        rows = [f"1,{i},{0.01 * i:.6f},0,0,0,{0.01 - busy_s:.6f},{0.75 * busy_s:.6f},{0.01 * (i + 1) - busy_s:.6f},0.010000,0,"
                f"{loss},0.05,1000,0,1,0,0,0,0,0,0,50000000\n" for i in range(UPDATES)]
        (path / f"steps-{rank:05}.csv").write_text(STEP_HEADER + "".join(rows))
    return load_run(path)


def test_servers_do_not_count_as_ranks_that_train(tmp_path):
    run = write_served(tmp_path / "run", servers=2)
    assert list(run.ranks) == [0, 1] and list(run.servers) == [2, 3] and not run.notes
    assert analyse(run).ranks == [0, 1]
    first, second = server_table(run).to_dict("records")
    assert (first["rank"], second["rank"]) == (2, 3) and first["host"] == "keeper" and first["updates"] == UPDATES
    assert first["updates_per_second"] == pytest.approx(100) and first["busy_share"] == pytest.approx(0.1)
    assert first["median_update_s"] == pytest.approx(0.75e-3) and first["median_answer_s"] == pytest.approx(0.25e-3)
    assert first["sent_bytes"] == 1000 * UPDATES


def test_staleness_is_counted_over_workers(tmp_path):
    run = write_served(tmp_path / "run")
    counts = staleness_counts(run)
    assert list(counts) == [10, 20, 10]
    assert [quantile(counts, share) for share in (0.25, 0.26, 0.75, 0.95, 1)] == [0, 1, 1, 2, 2]
    assert "1.00 updates stale on average, 1 in the middle, at most 2 for 95 %" in about_servers(analyse(run))[1]
    assert len(staleness_counts(write_served(tmp_path / "synchronous", asynchronous=False))) == 0


def test_asynchronous_workers_are_not_said_to_wait_for_one_another(tmp_path):
    a = analyse(write_served(tmp_path / "run"))
    assert a.straggler is None and not a.met.any() and (a.phases["straggler"] == 0).all()
    assert np.array_equal(a.phases["exchange"], a.phases["reduce_wait"])
    assert words.who_is_late(a).startswith("Workers do not wait for one another's gradients, but for the servers' answers: 8.3 % of")
    assert "more than 4 steps ahead" in words.who_is_late(a) and "35.4 ms to 35.4 ms" in words.who_is_late(a)
    assert "waiting for the last rank" not in words.where_time_went(a)
    together = analyse(write_served(tmp_path / "synchronous", asynchronous=False))
    assert together.straggler and together.met.all() == together.steady.all() and "No single rank" in words.who_is_late(together)


def test_a_busy_server_is_named(tmp_path):
    [idle] = about_servers(analyse(write_served(tmp_path / "idle", asynchronous=False)))
    assert "rank 2 is busy for 10 % of an update" in idle and "--servers" not in idle
    [busy] = about_servers(analyse(write_served(tmp_path / "busy", asynchronous=False, busy_s=0.009)))
    assert "rank 2 is busy for 90 %" in busy and "Use more --servers?" in busy
    assert not about_servers(analyse(load_run(write_run(tmp_path / "none", Synthetic()))))


def test_the_report_shows_both(tmp_path, capsys):
    write_served(tmp_path / "run")
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "1 parameter server: rank 2" in capsys.readouterr().out
    page = (tmp_path / "run/report/index.html").read_text()
    assert "<h2>Parameter servers</h2>" in page and "How stale gradients were" in page
    assert (tmp_path / "run/report/servers.csv").read_text().count("\n") == 2


def test_logs_of_earlier_versions_have_no_staleness(tmp_path):
    path = write_run(tmp_path / "run", Synthetic())
    for log in path.glob("steps-*.csv"):
        rows = [line.split(",") for line in log.read_text().splitlines()]
        at = rows[0].index("staleness")
        log.write_text("".join(",".join(row[:at] + row[at + 1:]) + "\n" for row in rows))
    assert (load_run(path).ranks[0]["staleness"] == 0).all()
