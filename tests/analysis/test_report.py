"""The program as a user meets it: the page, the tables, the text, exit codes."""
import csv
import html.parser
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
from synthetic_run import CLASSES, Synthetic, write_json, write_run

from brigade_analysis import words
from brigade_analysis.__main__ import main
from brigade_analysis.aggregate import analyse
from brigade_analysis.load import load_run

PICTURES = {"loss", "accuracy", "throughput", "phases", "ranks", "lateness", "confusion"}


class Page(html.parser.HTMLParser):
    """The text of a page, its tags, and everything that it would fetch."""

    def __init__(self, path):
        super().__init__()
        self.text, self.tags, self.fetched, self.ids, self.source = "", [], [], [], path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href") and not value.startswith(("#", "data:")):
                self.fetched.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.text += data


def report(path):
    assert main(["report", str(path)]) == 0
    return Page(path / "report" / "index.html")


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "study", Synthetic(ranks=2, late={(1, "backward"): 0.010}))


@pytest.fixture(scope="module")
def page(run):
    return report(run)


def test_the_page_opens_with_the_numbers_that_matter(page):
    beginning = page.text[:page.text.index("Curves")]
    for text in ("study", "98.40 %", "accuracy of 10,000 test images", f"{128 / 0.0465:,.0f}", "2 ranks",
                 "of 1 thread on 1 host", "46.5 ms", "310 ms start-up",
                 "Of a step of 46.5 ms on average, 80 % was computation (forward 22 %, backward 54 %",
                 "Rank 1 is slow: last at the sum of gradients in 100 % of the steps, 10.0 ms after the others, "
                 "because its forward and backward take longer", "Times leave out the first 10 of 100 steps"):
        assert text in beginning, text


def test_the_page_needs_nothing_else(page):
    assert page.fetched == [] and not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "@import" not in page.source and "url(http" not in page.source
    assert page.tags.count("svg") == len(PICTURES) and len(page.ids) == len(set(page.ids))
    assert 'name="viewport"' in page.source


def test_references_inside_the_page_resolve(page):
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', page.source))
    assert used and used <= set(page.ids)


def test_pictures_have_axes_with_units(page, run):
    assert {path.stem for path in (run / "report").glob("*.svg")} == PICTURES
    for name, labels in {"loss": ["cross-entropy loss (nats)", "epoch (50 steps each)"],
                         "accuracy": ["accuracy (%)", "epoch"],
                         "throughput": ["images/s, 2 ranks together", "time since the first step (s)"],
                         "phases": ["time in a step (ms)", "step"], "ranks": ["mean time of a step (ms)", "rank 1"],
                         "lateness": ["arrival after the first rank (ms)", "last in 100 %"],
                         "confusion": ["predicted", "true class", "share of the class (%)", "Ankle boot"]}.items():
        tree = xml.etree.ElementTree.parse(run / "report" / f"{name}.svg")
        texts = {"".join(node.itertext()).strip() for node in tree.iter("{http://www.w3.org/2000/svg}text")}
        assert set(labels) <= texts, name


def test_tables(run, page):
    directory = run / "report"
    phases = {row["phase"]: row for row in rows(directory / "phases.csv")}
    assert float(phases["backward"]["max_s"]) == pytest.approx(0.030, abs=2e-6)
    assert float(phases["backward"]["min_s"]) == pytest.approx(0.020, abs=2e-6)
    assert [row["times_last"] for row in rows(directory / "ranks.csv")] == ["0", "90"]
    assert [row["val_accuracy"] for row in rows(directory / "epochs.csv")] == ["0.8", "0.9"]
    (summary,) = rows(directory / "summary.csv")
    assert (summary["accuracy"], summary["last_rank"], summary["last_rank_cause"]) == ("0.984", "1", "compute")


def test_the_same_run_gives_the_same_bytes(run, page):
    before = {path.name: path.read_bytes() for path in (run / "report").iterdir()}
    report(run)
    assert {path.name: path.read_bytes() for path in (run / "report").iterdir()} == before


def test_what_is_printed(run, capsys):
    main(["report", str(run)])
    out = capsys.readouterr().out
    assert "accuracy    98.40 % of 10,000 test images (loss 0.2500)" in out
    assert "Rank 1 is slow" in out and out.endswith(f"report: {run}/report/index.html\n")


def test_compare(run, tmp_path, capsys):
    other = write_run(tmp_path / "wide", Synthetic(ranks=4, epochs=1, evaluated=False))
    assert main(["compare", str(run), str(other)]) == 0
    header, *lines = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    first, second = (dict(zip(header, line)) for line in lines)
    assert [float(run.pop("training").removesuffix(" s")) for run in (first, second)] == [
        pytest.approx(4.82, abs=0.01), pytest.approx(2.0, abs=0.02)]
    assert first == {
        "run": "study", "network": "fashion-cnn", "ranks": "2 × 1", "batch": "128", "epochs": "2",
        "accuracy": "98.40 %", "of": "test", "loss": "0.2500", "start-up": "310 ms", "images/s": "2,753",
        "per rank": "1,376", "exit": "done"}
    assert second == {
        "run": "wide", "network": "fashion-cnn", "ranks": "4 × 1", "batch": "256", "epochs": "1",
        "accuracy": "80.00 %", "of": "validation", "loss": "0.6000", "start-up": "310 ms", "images/s": "7,014",
        "per rank": "1,753", "exit": "done"}


def test_compare_names_a_run_it_cannot_read_and_shows_the_others(run, tmp_path, capsys):
    assert main(["compare", str(run), str(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 and "is no run" in err


@pytest.mark.parametrize("options", [
    {"ranks": 1}, {"validates": False}, {"finished": False, "evaluated": False},
    {"epochs": 1, "steps_per_epoch": 1}, {"epochs": 1, "steps_per_epoch": 2, "ranks": 3},
    {"ranks": 36, "steps_per_epoch": 10}, {"epochs": 200, "steps_per_epoch": 2},
    {"wait_data_s": 0, "optimizer_s": 0, "rest_s": 0, "exchange_s": 0},
], ids=lambda options: "-".join(options))
def test_unusual_runs(tmp_path, options):
    page = report(write_run(tmp_path, Synthetic(**options)))
    assert "nan" not in re.sub(r"<style.*?</style>|\b\w*nan\w+\b", "", page.text) and "inf " not in page.text
    assert page.tags.count("svg") == len(PICTURES) - (options.get("ranks") == 1) - (not options.get("evaluated", True))


def test_a_killed_run_without_an_epoch(tmp_path):
    run = write_run(tmp_path, Synthetic(epochs=1, finished=False, evaluated=False))
    (run / "epochs.csv").unlink()
    page = report(run)
    assert "no epoch is finished" in page.text and "The run has not finished" in page.text


def test_a_run_that_diverged(tmp_path):
    run = write_run(tmp_path, Synthetic(epochs=1, finished=False, evaluated=False))
    for rank in range(2):
        log = run / f"steps-{rank:05}.csv"
        lines = [line.split(",") for line in log.read_text().splitlines()]
        for fields in lines[6:]:
            fields[11] = "inf"
        log.write_text("".join(",".join(fields) + "\n" for fields in lines))
    assert "Loss" in report(run).text


def test_names_are_only_text(tmp_path):
    """Neither HTML nor matplotlib's mathematics."""
    run = write_run(tmp_path / "a<b>&c", Synthetic())
    names = ["<script>alert(1)</script>", "$\\frac{$", "a & b", *CLASSES[3:]]
    value = json.loads((run / "evaluation.json").read_text())
    for entry, name in zip(value["classes"], names):
        entry["name"] = name
    write_json(run / "evaluation.json", value)
    page = report(run)
    assert "script" not in page.tags
    for text in ("a<b>&c", *names[:3], "t10k-images:4<2>", "--dataset datasets/<x>"):
        assert text in page.text, text


def test_many_classes(tmp_path):
    run = write_run(tmp_path, Synthetic())
    n = 200
    write_json(run / "evaluation.json", {
        "split": "val", "samples": 50 * n, "loss": 2.0, "top1_accuracy": 0.9, "top5_accuracy": 0.95,
        "classes": [{"name": f"n{i:08}", "samples": 50, "correct": 45} for i in range(n)],
        "confusion": (45 * np.eye(n, dtype=int) + 5 * np.roll(np.eye(n, dtype=int), 1, axis=1)).tolist(), "worst": []})
    page = report(run)
    assert "n00000000" in page.text and len(page.source) < 600_000


def test_bad_arguments(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 3
    assert "run.json" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        main(["draw"])
    assert exit_.value.code == 2


def test_an_interpreter_without_the_packages_is_told_what_to_do(tmp_path):
    """-S -E: without site-packages, as an interpreter that has none of them."""
    root = os.path.join(os.path.dirname(__file__), "../../analysis")
    result = subprocess.run([sys.executable, "-S", "-E", "-m", "brigade_analysis", "report", "runs/x"], cwd=root,
                            capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "has no numpy and no pandas and no matplotlib" in result.stderr
    assert "apt install python3-numpy" in result.stderr or "python3 -m brigade_analysis report runs/x?" in result.stderr


def test_processor_shared_with_others(tmp_path):
    run = write_run(tmp_path, Synthetic(ranks=2, epochs=4))
    assert words.busy_cores(analyse(load_run(run))) is None
    log = run / "steps-00001.csv"
    log.write_text(log.read_text().replace(",0.400000,0.000000,0,0,0,3,", ",0.180000,0.000000,0,0,0,500,"))
    assert "Rank 1 got only 0.4" in words.busy_cores(analyse(load_run(run)))


@pytest.mark.parametrize("value, text", [
    (0, "0 µs"), (3.1e-4, "310 µs"), (9.999e-4, "1.00 ms"), (0.02461, "24.6 ms"), (0.9996, "1.00 s"), (3.214, "3.21 s"),
    (74.66, "74.7 s"), (99.6, "1 min 40 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min"), (float("nan"), "–")])
def test_durations_in_words(value, text):
    assert words.seconds(value) == text


@pytest.mark.parametrize("share, text", [(0, "0 %"), (0.0001, "under 0.1 %"), (0.014, "1.4 %"), (0.095, "10 %"),
                                         (0.583, "58 %"), (1, "100 %")])
def test_shares_in_words(share, text):
    assert words.percent(share) == text
