"""`brigade bench` as a user meets it."""
import json


def only_error(result, code):
    assert result.code == code and len(result.errors) == 1, result.all_err
    return result.errors[0]


def test_step(brigade, tmp_path):
    file = tmp_path / "step.json"
    result = brigade("bench", "step", "--network", "lenet5", "--batch-size", 8, "--repetitions", 2, "--json", file)
    assert result.code == 0, result.all_err
    assert "images/s" in result.out and "conv2d" in result.out and "same bits" in result.out
    report = json.loads(file.read_text())
    assert report["benchmark"] == "step" and report["images"] == [8, 28, 28, 1]
    assert report["parameters"] == 61706 and report["repetitions"] == 2
    assert 0 < report["share_of_peak"] < 1.5 and report["peak_rss_bytes"] > report["arena_bytes"] > 0
    median = report["images_per_second"]["median"]
    assert report["images_per_second"]["p10"] <= median <= report["images_per_second"]["p90"]
    assert abs(median * report["step_s"]["median"] - 8) < 1e-6
    assert 0 < report["added_rss_bytes"] < report["peak_rss_bytes"]
    assert report["step_s"]["min"] <= report["step_s"]["p10"] <= report["step_s"]["p90"] <= report["step_s"]["p99"]
    assert [path.name for path in tmp_path.iterdir()] == ["step.json"]


def test_step_of_several_networks(brigade, tmp_path):
    file = tmp_path / "steps.json"
    result = brigade("bench", "step", "--network", "lenet5,fashion-cnn", "--batch-size", 4, "--repetitions", 2, "--json", file)
    assert result.code == 0, result.all_err
    reports = json.loads(file.read_text())
    assert [report["network"] for report in reports] == ["lenet5", "fashion-cnn"]
    assert all(report["images"] == [4, 28, 28, 1] for report in reports)
    assert result.out.count("same bits in two runs") == 2 and "ms (p99)" in result.out


def test_step_in_bf16(brigade, tmp_path):
    arena = {}
    for precision in ("fp32", "bf16"):
        file = tmp_path / f"{precision}.json"
        result = brigade("bench", "step", "--network", "fashion-cnn", "--batch-size", 8, "--repetitions", 2, "--precision",
                         precision, "--json", file)
        assert result.code == 0 and f"of fashion-cnn in {precision}" in result.out, result.all_err
        report = json.loads(file.read_text())
        assert report["precision"] == precision
        peak = {"vdpbf16ps": "(VDPBF16PS on", "fma": "(fused multiply-adds on"}[report["peak_instruction"]]
        assert peak in result.out and (precision == "bf16" or report["peak_instruction"] == "fma")
        arena[precision] = report["arena_bytes"]
    assert 0.45 < arena["bf16"] / arena["fp32"] < 0.6
    assert "--precision 'fp16' is not one of fp32|bf16" in only_error(brigade("bench", "step", "--precision", "fp16"), 2)


def test_step_inference(brigade):
    result = brigade("bench", "step", "--network", "lenet5", "--batch-size", 8, "--repetitions", 2, "--inference")
    assert result.code == 0 and "inference of lenet5" in result.out, result.all_err
    assert "(p99)" in result.out
    assert "sgd" not in result.out


def test_kernels_of_a_network(brigade, tmp_path):
    file = tmp_path / "kernels.json"
    result = brigade("bench", "kernels", "--network", "lenet5", "--batch-size", 2, "--repetitions", 2, "--json", file)
    assert result.code == 0, result.all_err
    assert "28x28x1 -> 6, 5x5/1" in result.out and "geometric mean" in result.out
    report = json.loads(file.read_text())
    assert [row["pass"] for row in report["rows"]] == [
        "forward", "backward-weights", *4 * ["forward", "backward-data", "backward-weights"]]
    assert [row["kind"] for row in report["rows"]] == 5 * ["convolution"] + 9 * ["dense"]
    assert len(report["ceilings"]) == 6
    for row in report["rows"]:
        assert abs(row["flops_per_s"] * row["seconds"]["median"] / row["flops"] - 1) < 1e-9
        assert 0 < row["share_of_peak"] < 1.5


def test_kernels_in_bf16(brigade, tmp_path):
    file = tmp_path / "kernels.json"
    result = brigade("bench", "kernels", "--network", "lenet5", "--batch-size", 2, "--repetitions", 2, "--precision", "bf16",
                     "--json", file)
    assert result.code == 0 and "of lenet5 in bf16" in result.out, result.all_err
    report = json.loads(file.read_text())
    assert report["precision"] == "bf16" and len(report["rows"]) == 14
    peak = {"vdpbf16ps": "(VDPBF16PS, the peak)", "fma": "no instruction here multiplies bf16"}[report["peak_instruction"]]
    assert peak in result.out
    for row in report["rows"]:
        rounded = row["pass"] != "backward-weights"  # its results stay float
        assert row["error"] < (2**-8 if rounded else 1e-6) and (row["error"] > 1e-5) == rounded
        assert row["algorithm"] == ("direct" if row["kind"] == "convolution" else "")
    x, y, w = 2 * 28 * 28, 2 * 28 * 28 * 6, 25 * 6
    assert report["rows"][0]["bytes"] == 2 * (x + y) + 4 * w
    assert "--precision 'fp16' is not one of fp32|bf16" in only_error(brigade("bench", "kernels", "--precision", "fp16"), 2)


def test_wrong_calls(brigade, tmp_path):
    assert "allreduce, augment, io, kernels and step" in only_error(brigade("bench", "network"), 2)
    assert "allreduce, augment, io, kernels and step" in only_error(brigade("bench"), 2)
    assert "one rank" in only_error(brigade("bench", "step", "--network", "lenet5", ranks=2), 2)
    assert "--repetitions" in only_error(brigade("bench", "step", "--repetitions", 0), 2)
    assert "no network" in only_error(brigade("bench", "kernels", "--network", "lenet6"), 2)
    assert "no network 'lenet6'" in only_error(brigade("bench", "step", "--network", "lenet5,lenet6"), 2)
    missing = tmp_path / "none" / "a.json"
    assert "no directory" in only_error(brigade("bench", "kernels", "--json", missing), 2)
