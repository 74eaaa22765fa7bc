"""Options of how gradients are summed: buckets and wire formats."""
import csv
import json

import numpy


def test_bucket_auto_is_logged_and_changes_no_bit(brigade, dataset, tmp_path):
    """On two ranks every order of additions gives the same sum."""
    losses = []
    for bucket in ("auto", "8K"):
        run = tmp_path / bucket
        result = brigade("train", "--dataset", dataset, "--run", run, "--network", "lenet5", "--batch-size", 48, "--threads", 1,
                         "--max-steps", 30, "--epochs", 100, "--validation-split", "none", "--bucket", bucket, ranks=2)
        assert result.code == 0, result.all_err
        assert ("buckets of gradients:" in result.all_err) == (bucket == "auto")
        with open(run / "steps-00000.csv", newline="", encoding="utf-8") as file:
            losses.append([row["loss"] for row in csv.DictReader(file)])
    assert losses[0] == losses[1] and len(losses[0]) == 30
    options = json.loads((tmp_path / "auto/run.json").read_text())["options"]
    assert 2**16 <= int(options["bucket"]) <= 4 * 62000  # a quarter of the least usual one, or all there is
    assert options["bucket-why"].count(" ms with ") == 5


def test_bucket_auto_needs_sums_to_look_at(brigade, dataset, tmp_path):
    result = brigade("train", "--dataset", dataset, "--run", tmp_path / "r", "--strategy", "local-sgd", "--bucket", "auto")
    assert result.code == 2 and len(result.errors) == 1 and "--bucket auto" in result.errors[0], result.all_err


def test_gradients_in_16_bits_train_alike(brigade, dataset, tmp_path):
    losses = {}
    for wire in ("fp32", "bf16", "fp16"):
        run = tmp_path / wire
        result = brigade("train", "--dataset", dataset, "--run", run, "--network", "lenet5", "--batch-size", 48, "--threads", 1,
                         "--max-steps", 12, "--epochs", 1, "--validation-split", "none", "--learning-rate", 0.005,
                         "--allreduce", "ring", "--wire", wire, ranks=2)
        assert result.code == 0, result.all_err
        with open(run / "steps-00000.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        losses[wire] = numpy.array([float(row["loss"]) for row in rows])
        sent = int(rows[0]["sent_bytes"])
        assert (sent > 4 * 61706) == (wire == "fp32"), sent
    away = {wire: numpy.abs(losses[wire] / losses["fp32"] - 1).max() for wire in ("bf16", "fp16")}
    assert 0 < away["fp16"] < away["bf16"] < 0.02, away
