"""The table of Brigade beside PyTorch: ratios, and what of the wanted figures is reached."""
import json

import pytest

from brigade_analysis.__main__ import main
from brigade_analysis.load import RunError
from brigade_analysis.ratios import load_rows, ratio_table


def row(network="resnet50", mode="training", precision="fp32", batch=16, ours=(12.0, 500e6), theirs=(10.0, 1000e6)):
    def side(figures):
        return dict(zip(("images_per_second", "peak_rss_bytes"), figures))

    return {"network": network, "mode": mode, "precision": precision, "batch_size": batch, "threads": 2,
            "brigade": side(ours), "pytorch": side(theirs)}


def cells(*rows):
    """Of the lines below the head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in ratio_table(list(rows)).splitlines()[2:]]


def write(path, *rows, benchmark="compare_step"):
    path.write_text(json.dumps({"benchmark": benchmark, "rows": list(rows)}))
    return str(path)


def test_training_has_a_speed_by_network_and_a_memory():
    assert cells(row()) == [["resnet50", "training", "fp32", "16", "2", "12.0", "10.0", "1.20", "1.10", "500", "1000", "0.50",
                             "0.60", "yes"]]


def test_what_is_missed_is_named():
    reached = [line[-1] for line in cells(row(ours=(10.9, 500e6)), row(ours=(12, 601e6)), row(ours=(10, 900e6)))]
    assert reached == ["not speed", "not memory", "not speed and memory"]


def test_bf16_and_latency_have_figures_of_their_own():
    bf16, latency, batch = cells(row(network="vgg16", precision="bf16"), row(mode="inference", batch=1, ours=(14, 1e9)),
                                 row(mode="inference", batch=8))
    assert (bf16[8], bf16[-1]) == ("1.15", "yes")
    assert (latency[7], latency[8], latency[12], latency[-1]) == ("1.40", "1.43", "-", "not speed")
    assert (batch[8], batch[-1]) == ("-", "-")


def test_memory_that_was_not_measured_is_a_dash():
    (line,) = cells(row(theirs=(10.0, None)))
    assert line[10:12] == ["-", "-"] and line[-1] == "yes"


def test_the_command_prints_all_files_in_order(tmp_path, capsys):
    files = [write(tmp_path / "a.json", row(), row(network="mobilenet")), write(tmp_path / "b.json", row(network="vgg16"))]
    assert main(["ratios", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["resnet50", "mobilenet", "vgg16"]
    assert len({len(line) for line in lines}) == 1, "columns are aligned"


@pytest.mark.parametrize("content", ["", "[1]", '{"benchmark": "compare_step"}', '{"benchmark": "step", "rows": []}'])
def test_another_file_is_refused_with_a_hint(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(RunError, match="compare_step.py?"):
        load_rows(str(path))
    assert main(["ratios", str(path)]) == 3


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["ratios", str(tmp_path / "none.json")]) == 3
    assert "none.json" in capsys.readouterr().err
