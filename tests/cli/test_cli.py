"""The program as a user meets it: results of a small run, and every kind of bad input."""
import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import h5py
import numpy
import pytest
from PIL import Image

from conftest import BRIGADE, ENVIRONMENT, ROOT

TRAIN = ["--network", "lenet5", "--epochs", 3, "--batch-size", 40, "--learning-rate", 0.02]


def digest(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


def only_error(result, code):
    """The one error line of a run that must end with this code."""
    assert result.code == code, result.all_err
    assert len(result.errors) == 1, result.all_err
    return result.errors[0]


@pytest.fixture(scope="module")
def run(brigade, dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "first"
    result = brigade("train", "--dataset", dataset, "--run", directory, *TRAIN, ranks=2)
    assert result.code == 0, result.all_err
    return directory


# ---- what works

def test_help_and_version(brigade):
    for arguments in (["--help"], ["train", "--help"], ["shard", "--help"], ["--version"]):
        result = brigade(*arguments)
        assert result.code == 0 and result.out.startswith("brigade"), arguments
    text = brigade("train", "--help").out
    assert "--learning-rate arg (=0.05)" in text
    sections = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert sections == ["Options", "The run", "The network", "The optimizer", "The data", "The ranks", "The machine"]


@pytest.mark.parametrize("ranks", [1, 3])
def test_shards_are_the_same_bytes_for_any_rank_count(brigade, idx, dataset, tmp_path, ranks):
    brigade("shard", "--source", idx, "--output", tmp_path / "d", "--samples-per-shard", 128, ranks=ranks)
    assert digest(tmp_path / "d") == digest(dataset)


def test_shard_again_keeps_finished_shards_and_mends_damaged_ones(brigade, idx, copied_dataset):
    before = digest(copied_dataset)
    shards = sorted(copied_dataset.glob("*.h5"))
    shards[0].unlink()
    with open(shards[1], "r+b") as file:
        file.truncate(1000)
    result = brigade("shard", "--source", idx, "--output", copied_dataset, "--samples-per-shard", 128, ranks=2)
    assert result.code == 0, result.all_err
    written, kept = map(int, re.search(r"(\d+) images written, (\d+) already there", result.out).groups())
    assert written + kept == 701 and 0 < written < 300
    assert digest(copied_dataset) == before


def test_shards_read_with_h5py(dataset):
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert len(manifest["classes"]) == 10
    total = 0
    for path in sorted(dataset.glob("train-*.h5")):
        with h5py.File(path, "r") as shard:
            assert shard["images"].dtype == numpy.uint8 and shard["images"].shape[1:] == (28, 28, 1)
            assert shard["images"].shape[0] == shard["labels"].shape[0] == shard["checksums"].shape[0] == shard["names"].shape[0]
            total += shard["images"].shape[0]
    assert total == 600


def test_inspect(brigade, dataset):
    result = brigade("inspect", "--dataset", dataset, ranks=2)
    assert result.code == 0, result.all_err
    assert re.search(r"images +101 +600", result.out) and "every checksum is right" in result.out


def test_run_directory(run):
    info = json.loads((run / "run.json").read_text())
    assert info["ranks"] == 2 and info["network"] == "lenet5" and info["options"]["batch-size"] == "40"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["exit_reason"] == "done" and summary["steps"] == 45
    for rank in range(2):
        with open(run / f"steps-{rank:05}.csv") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == list(range(45))
        assert all(int(row["images"]) == 20 for row in rows)
        parts = ["wait_data_s", "forward_s", "backward_s", "reduce_wait_s", "optimizer_s"]
        for row in rows:
            assert sum(float(row[part]) for part in parts) <= float(row["step_s"]) + 4e-6  # six roundings to 1e-6
    with open(run / "epochs.csv") as file:
        epochs = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in epochs] == [1, 2, 3]
    assert all(int(row["val_images"]) == 101 for row in epochs)
    assert float(epochs[-1]["val_accuracy"]) > 0.9
    assert list(run.glob("events.out.tfevents.*"))
    assert (run / "checkpoints/step-00000045/manifest.json").exists()
    assert not list(run.rglob("*partial*"))


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_evaluate_is_exact_at_any_rank_count(brigade, dataset, run, tmp_path, ranks):
    output = tmp_path / "evaluation.json"
    result = brigade("evaluate", "--dataset", dataset, "--run", run, "--output", output, ranks=ranks)
    assert result.code == 0, result.all_err
    report = json.loads(output.read_text())
    assert report["samples"] == 101 and sum(map(sum, report["confusion"])) == 101
    with open(run / "epochs.csv") as file:
        last = list(csv.DictReader(file))[-1]
    assert report["top1_accuracy"] == pytest.approx(float(last["val_accuracy"]), abs=1e-9)
    assert report["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-5)


def test_evaluate_in_bf16_differs_by_rounding_only(brigade, dataset, run, tmp_path):
    reports = {}
    for precision in ("fp32", "bf16"):
        output = tmp_path / f"{precision}.json"
        result = brigade("evaluate", "--dataset", dataset, "--run", run, "--precision", precision, "--output", output)
        assert result.code == 0, result.all_err
        reports[precision] = json.loads(output.read_text())
    full, half = reports["fp32"], reports["bf16"]
    assert half["samples"] == full["samples"] == 101
    assert half["loss"] != full["loss"] and half["loss"] == pytest.approx(full["loss"], rel=0.05, abs=0.01)
    assert half["top1_accuracy"] == pytest.approx(full["top1_accuracy"], abs=0.03)


def test_resume_of_a_finished_run_does_nothing(brigade, dataset, run):
    before = (run / "summary.json").read_text()
    result = brigade("train", "--dataset", dataset, "--run", run, *TRAIN, "--resume", ranks=2)
    assert result.code == 0 and (run / "summary.json").read_text() == before


def test_a_signal_stops_with_a_checkpoint_and_resume_continues(brigade, dataset, tmp_path):
    arguments = ["train", "--dataset", dataset, "--run", tmp_path / "r", "--network", "lenet5", "--epochs", 400,
                 "--batch-size", 40, "--checkpoint-every", 0]
    with subprocess.Popen([str(BRIGADE), *map(str, arguments)], env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        log = tmp_path / "r" / "epochs.csv"
        deadline = time.time() + 60
        while not log.exists() and time.time() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == 75
    stopped = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert stopped["exit_reason"] == "stopped early"
    result = brigade(*arguments, "--resume", "--max-steps", stopped["steps"] + 3)
    assert result.code == 0, result.all_err
    with open(tmp_path / "r" / "steps-00000.csv") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == list(range(stopped["steps"] + 3))


def test_reproducible_training_is_the_same_bytes_at_any_rank_and_thread_count(brigade, idx, tmp_path):
    large = tmp_path / "large"  # enough for a network with dropout and batch norm
    assert brigade("shard", "--source", idx, "--output", large, "--image-size", 52, ranks=2).code == 0

    def checkpoint(ranks, threads):
        directory = tmp_path / f"{ranks}x{threads}"
        result = brigade("train", "--dataset", large, "--run", directory, "--network", "tiny-model2",
                         "--batch-size", 200, "--epochs", 1, "--augment", "flip,rotate=10,crop=2,mixup=0.2",
                         "--threads", threads, "--reproducible", "--micro-batches", 4, ranks=ranks)
        assert result.code == 0, result.all_err
        assert json.loads((directory / "run.json").read_text())["options"]["reproducible"] == "yes"
        return digest(directory / "checkpoints" / "step-00000003")

    expected = checkpoint(1, 1)
    assert set(expected) == {"manifest.json", "model.h5", "state.h5"}
    for ranks, threads in [(1, 2), (2, 1), (4, 2)]:
        assert checkpoint(ranks, threads) == expected, f"{ranks} ranks, {threads} threads"


def test_width_is_part_of_the_model(brigade, dataset, tmp_path):
    train = ["train", "--dataset", dataset, "--run", tmp_path / "r", "--network", "mobilenet-v2", "--batch-size", 60]
    result = brigade(*train, "--width", 0.25, "--epochs", 1, "--max-steps", 2)
    assert result.code == 0, result.all_err
    info = json.loads((tmp_path / "r" / "run.json").read_text())
    assert info["options"]["width"] == "0.25"
    with h5py.File(next((tmp_path / "r" / "checkpoints").glob("step-*/model.h5"))) as model:
        assert json.loads(model.attrs["brigade_model"])["width_multiplier"] == 0.25
        assert model["weights/conv1/kernel"].shape == (3, 3, 1, 8)
    result = brigade("evaluate", "--dataset", dataset, "--run", tmp_path / "r", "--split", "test")
    assert result.code == 0 and "101 images" in result.out, result.all_err
    (tmp_path / "r" / "summary.json").unlink()
    message = only_error(brigade(*train, "--width", 0.5, "--epochs", 1, "--resume"), 2)
    assert "another width (it was 0.25, now 0.5)" in message
    result = brigade(*train, "--width", 0.25, "--epochs", 1, "--max-steps", 3, "--resume")
    assert result.code == 0, result.all_err


def test_batch_norm_momentum_is_the_networks_unless_given(brigade, dataset, tmp_path):
    def after_one_step(run, *options):
        result = brigade("train", "--dataset", dataset, "--run", tmp_path / run, "--network", "fashion-cnn", "--batch-size", 60,
                         "--max-steps", 1, *options)
        assert result.code == 0, result.all_err
        with h5py.File(next((tmp_path / run / "checkpoints").glob("step-*/model.h5"))) as model:
            statistics = model["statistics/bn1"]
            moved = numpy.concatenate([statistics["moving_mean"][:], statistics["moving_variance"][:] - 1])
        return json.loads((tmp_path / run / "run.json").read_text())["options"]["batch-norm-momentum"], moved

    logged, moved = after_one_step("own")
    given, further = after_one_step("given", "--batch-norm-momentum", 0.5)
    assert (logged, given) == ("0.99", "0.5")
    assert numpy.abs(further).max() > 0.1
    numpy.testing.assert_allclose(further, moved * (1 - 0.5) / (1 - 0.99), rtol=1e-3, atol=1e-4)  # 1 - 0.99F is rounded
    assert "the network's" in brigade("train", "--help").out.split("--batch-norm-momentum")[1].split("--precision")[0]
    train = ["train", "--dataset", dataset, "--run", tmp_path / "r", "--batch-norm-momentum"]
    assert "--batch-norm-momentum 1 is not in [0, 1)" in only_error(brigade(*train, 1), 2)
    assert "lenet5 has no batch norm" in only_error(brigade(*train, 0.9, "--network", "lenet5"), 2)


def test_precision_belongs_to_a_run(brigade, dataset, tmp_path):
    train = ["train", "--dataset", dataset, "--run", tmp_path / "r", "--network", "fashion-cnn", "--batch-size", 60]
    assert "activations in bf16" in brigade(*train, "--precision", "bf16", "--dry-run").out
    result = brigade(*train, "--precision", "bf16", "--max-steps", 2, ranks=2)
    assert result.code == 0, result.all_err
    assert json.loads((tmp_path / "r" / "run.json").read_text())["options"]["precision"] == "bf16"
    with h5py.File(next((tmp_path / "r" / "checkpoints").glob("step-*/model.h5"))) as model:
        kernel = model["weights/conv1/kernel"][:]
    assert kernel.dtype == "float32" and (kernel.view("uint32") & 0xFFFF).any()  # not those of the products
    message = only_error(brigade(*train, "--max-steps", 3, "--resume"), 2)
    assert "another precision (it was bf16, now fp32)" in message
    result = brigade(*train, "--precision", "bf16", "--max-steps", 3, "--resume")
    assert result.code == 0 and "resuming after step 2" in result.all_err, result.all_err


def test_threads_are_pinned_where_they_have_room(brigade, dataset, tmp_path):
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        pytest.skip("one processor: nothing to pin to")

    def pinned(name, *options, ranks=1, environment=None):
        result = brigade("train", "--dataset", dataset, "--run", tmp_path / name, *TRAIN, "--max-steps", 1, "--threads", 2,
                         *options, ranks=ranks, environment=environment)
        assert result.code == 0, result.all_err
        info = json.loads((tmp_path / name / "run.json").read_text())
        assert info["threads_per_rank"] == 2
        return info["pinned_processors"]

    assert pinned("alone") == processors[:2]
    assert pinned("free", "--pin-threads", "no") == []
    assert pinned("openmp", environment={"OMP_PLACES": "{%d:2}" % processors[0]}) == []
    assert pinned("shared", ranks=2) == (processors[:2] if len(processors) >= 4 else [])


def test_pinned_threads_stay_on_their_processors(dataset, tmp_path):
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        pytest.skip("one processor: nothing to pin to")
    arguments = ["bench", "step", "--network", "lenet5", "--threads", 2, "--repetitions", 1000000]
    with subprocess.Popen([str(BRIGADE), *map(str, arguments)], env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        pinned, deadline = [], time.time() + 60
        while pinned != processors[:2] and time.time() < deadline:
            time.sleep(0.05)
            masks = [os.sched_getaffinity(int(thread)) for thread in os.listdir(f"/proc/{process.pid}/task")]
            pinned = sorted(min(mask) for mask in masks if len(mask) == 1)
        assert os.sched_getaffinity(process.pid) == {processors[0]}
        process.kill()
    assert pinned == processors[:2], masks


def test_config_file_and_command_line(brigade, dataset, tmp_path):
    config = tmp_path / "run.ini"
    config.write_text(f"dataset = {dataset}\nnetwork = lenet5\nbatch-size = 60\nlearning-rate = 0.01\n")
    result = brigade("train", "--config", config, "--run", tmp_path / "r", "--batch-size", 30, "--dry-run", ranks=2)
    assert result.code == 0, result.all_err
    assert "30 images = 2 micro-batches of 15 over 2 ranks" in result.out and not (tmp_path / "r").exists()


def test_models(brigade):
    listing = brigade("models").out
    for name, parameters in {"fashion-cnn": 455_018, "lenet5": 61_706}.items():
        assert re.search(rf"^{name} .* {parameters} ", listing, re.M), listing
    assert "conv2d" in brigade("models", "tiny-model2").out


def test_models_of_one_network_in_every_format(brigade):
    everything = {entry["network"]: entry for entry in json.loads(brigade("models", "--json").out)}
    assert everything["resnet50"]["parameters"] == 25_636_712 and not everything["resnet50"]["takes_width"]
    assert everything["mobilenet"]["takes_width"]

    one = json.loads(brigade("models", "mobilenet", "--json", "--width", 0.5, "--image-size", 128, "--batch-size", 2).out)
    assert one["parameters"] == 1_342_536 and one["input"] == [128, 128, 3] and one["batch_size"] == 2  # Keras' count
    assert 0 < one["inference_bytes"] < one["training_bytes"] < everything["mobilenet"]["training_bytes"]
    conv = next(layer for layer in one["layers"] if layer["name"] == "conv1")
    assert conv == {"name": "conv1", "operation": "conv2d", "inputs": ["input"], "output": [64, 64, 16],
                    "trainable_parameters": 3 * 3 * 3 * 16, "flops_per_image": 2.0 * 64 * 64 * 16 * 27}
    assert sum(layer["trainable_parameters"] for layer in one["layers"]) == one["trainable_parameters"]

    drawing = brigade("models", "alexnet", "--dot").out
    assert drawing.startswith('digraph "alexnet" {') and drawing.rstrip().endswith("}")
    assert 'n3 [label="norm1\\nlocal_response_norm\\n55x55x96"];' in drawing and "n2 -> n3;" in drawing
    assert drawing.count(" -> ") == drawing.count("label=") - 1  # a chain
    residual = brigade("models", "resnet18", "--dot").out
    assert residual.count(" -> ") == residual.count("label=") - 1 + 8  # eight sums

    table = brigade("models", "alexnet").out
    assert "60965224 parameters" in table and "MB in training" in table


def test_quickstart_on_tiny_data_and_again(idx, tmp_path):
    environment = dict(ENVIRONMENT, FASHION_MNIST=str(idx), DATASET=str(tmp_path / "d"), RUN=str(tmp_path / "r"))
    for expected in ("done: accuracy", "is finished (remove it to train anew)"):
        process = subprocess.run(["bash", str(ROOT / "jobs/quickstart.sh")], env=environment, capture_output=True, text=True,
                                 timeout=600)
        assert process.returncode == 0, process.stdout + process.stderr
        assert expected in process.stdout
    page = (tmp_path / "r" / "report" / "index.html").read_text()
    assert "101 test images" in page and "<svg" in page


# ---- bad options: exit code 2

@pytest.mark.parametrize("arguments, text", [
    (["launch"], "no command 'launch'"),
    (["train", "--speed", "9"], "unrecognised option '--speed'"),
    (["train", "--run", "r"], "--dataset is missing"),
    (["train", "--dataset", "d", "--run", "r", "--optimizer", "lion"], "'lion' is not one of sgd|adam"),
    (["train", "--dataset", "d", "--run", "r", "--epochs", "many"], "many"),
    (["train", "--dataset", "d", "--run", "r", "--epochs", "0"], "--epochs 0 is not positive"),
    (["train", "--dataset", "d", "--run", "r", "--prefetch", "-2"], "--prefetch -2 is not in -1..1024"),
    (["train", "--dataset", "d", "--run", "r", "--dropout", "nan"], "--dropout nan is not in [0, 1)"),
    (["shard", "--source", "s", "--output", "o", "--threads", "-1"], "--threads -1 is negative"),
    (["evaluate", "--dataset", "d"], "either --run or --checkpoint"),
    (["models", "--dot"], "name after"),
    (["models", "lenet5", "--dot", "--json"], "two formats"),
    (["models", "resnet50", "--width", "0.5"], "no width multiplier"),
    (["models", "vgg16", "--image-size", "20"], "layer block5_pool of vgg16"),
])
def test_bad_options(brigade, tmp_path, arguments, text):
    assert text in only_error(brigade(*arguments, ranks=2, cwd=tmp_path), 2)


@pytest.mark.parametrize("extra, text", [
    (["--batch-size", 33], "cannot be cut into 2 equal micro-batches"),
    (["--batch-size", 1000], "fewer than one global batch"),
    (["--micro-batches", 1], "cannot feed 2 ranks"),
    (["--network", "lenet"], "lenet5"),
    (["--network", "tiny-model2"], "does not fit"),
    (["--width", 0.5], "no width multiplier"),
    (["--strategy", "one-device"], "one-device is for one rank, but 2 were started"),
    (["--strategy", "local-sgd", "--sync-every", 0], "--sync-every 0 is not positive"),
    (["--strategy", "parameter-server", "--servers", 2], "--servers 2 of 2 ranks leave no server or no worker"),
    (["--strategy", "parameter-server", "--async", "--staleness", -1], "--staleness -1 is negative"),
    (["--async"], "--async is for --strategy parameter-server"),
    (["--batchnorm-group", 3], "--batchnorm-group 3 does not divide 2 ranks"),
    (["--reproducible"], "--reproducible needs --micro-batches"),
    (["--reproducible", "--batch-size", 30, "--micro-batches", 5], "cannot share 5 micro-batches among 2 ranks"),
    (["--validation-split", "dev"], "dev"),
    (["--backend", "cuda"], "this version of Brigade has no GPU backend. Use --backend host?"),
])
def test_options_that_do_not_fit_the_dataset(brigade, dataset, tmp_path, extra, text):
    assert text in only_error(brigade("train", "--dataset", dataset, "--run", tmp_path / "r", *extra, ranks=2), 2)


def test_a_finished_run_is_not_overwritten(brigade, dataset, run):
    assert "already holds a finished run" in only_error(
        brigade("train", "--dataset", dataset, "--run", run, *TRAIN, ranks=2), 2)


# ---- bad data: exit code 3

def train_on(brigade, directory, tmp_path, *extra):
    return brigade("train", "--dataset", directory, "--run", tmp_path / "r", *TRAIN, *extra, ranks=2)


def test_missing_dataset(brigade, tmp_path):
    assert "manifest.json" in only_error(train_on(brigade, tmp_path / "nothing", tmp_path), 3)


def test_truncated_shard(brigade, copied_dataset, tmp_path):
    shard = copied_dataset / "train-00001-of-00005.h5"
    os.truncate(shard, shard.stat().st_size // 2)
    assert shard.name in only_error(train_on(brigade, copied_dataset, tmp_path), 3)


def test_missing_shard(brigade, copied_dataset, tmp_path):
    (copied_dataset / "test-00000-of-00001.h5").unlink()
    assert "test-00000-of-00001.h5" in only_error(train_on(brigade, copied_dataset, tmp_path), 3)


@pytest.mark.parametrize("reader", ["mmap", "independent"])
def test_flipped_byte_names_file_and_index(brigade, copied_dataset, tmp_path, reader):
    with h5py.File(copied_dataset / "train-00002-of-00005.h5", "r+") as shard:
        image = shard["images"][17]
        image[3, 4, 0] ^= 1
        shard["images"][17] = image
    message = only_error(train_on(brigade, copied_dataset, tmp_path, "--reader", reader), 3)
    assert "train-00002-of-00005.h5" in message and "sample 17" in message and "CRC-32C" in message
    message = only_error(brigade("inspect", "--dataset", copied_dataset, ranks=2), 3)
    assert "train-00002-of-00005.h5" in message and "17" in message


def test_label_out_of_range(brigade, copied_dataset, tmp_path):
    with h5py.File(copied_dataset / "train-00000-of-00005.h5", "r+") as shard:
        shard["labels"][5] = 10
    message = only_error(train_on(brigade, copied_dataset, tmp_path), 3)
    assert "train-00000-of-00005.h5" in message and "10" in message


def test_shards_of_different_shapes(brigade, copied_dataset, tmp_path):
    with h5py.File(copied_dataset / "train-00003-of-00005.h5", "r+") as shard:
        images = shard["images"][:, :27]
        del shard["images"]
        shard.create_dataset("images", data=images)
    message = only_error(train_on(brigade, copied_dataset, tmp_path), 3)
    assert "train-00003-of-00005.h5" in message and "27" in message


def test_manifest_that_lies(brigade, copied_dataset, tmp_path):
    path = copied_dataset / "manifest.json"
    path.write_text(path.read_text().replace('"train-00000-of-00005.h5"', '"../secret.h5"'))
    assert "manifest.json" in only_error(train_on(brigade, copied_dataset, tmp_path), 3)


@pytest.fixture
def folder(tmp_path):
    generator = numpy.random.default_rng(3)
    for label in ("cat", "dog"):
        (tmp_path / "folder" / label).mkdir(parents=True)
        for i in range(6):
            pixels = generator.integers(0, 255, (20, 30, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(tmp_path / "folder" / label / f"{i}.{'jpg' if i % 2 else 'png'}")
    return tmp_path / "folder"


def test_an_image_that_does_not_decode(brigade, folder, tmp_path):
    (folder / "cat" / "0.png").write_bytes(b"no picture")
    shard = ["shard", "--source", folder, "--output", tmp_path / "d", "--image-size", 16]
    result = brigade(*shard, ranks=2)
    assert result.code == 3 and "cat/0.png" in result.all_err
    result = brigade(*shard, "--skip-bad", ranks=2)
    assert result.code == 0 and "cat/0.png" in result.all_err
    assert "11" in brigade("inspect", "--dataset", tmp_path / "d").out


def test_a_source_that_is_none(brigade, tmp_path):
    (tmp_path / "empty").mkdir()
    only_error(brigade("shard", "--source", tmp_path / "empty", "--output", tmp_path / "d", ranks=2), 3)
    only_error(brigade("shard", "--source", tmp_path / "none", "--output", tmp_path / "d", ranks=2), 3)


def test_truncated_idx(brigade, idx, tmp_path):
    shutil.copytree(idx, tmp_path / "idx")
    path = tmp_path / "idx" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5000])
    assert path.name in only_error(brigade("shard", "--source", tmp_path / "idx", "--output", tmp_path / "d", ranks=2), 3)


def test_damaged_checkpoint(brigade, dataset, run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    model = next(copy.glob("checkpoints/step-*/model.h5"))
    os.truncate(model, model.stat().st_size - 7)
    assert "damaged" in only_error(brigade("evaluate", "--dataset", dataset, "--run", copy, ranks=2), 3)


# ---- divergence and lost ranks

def test_divergence(brigade, dataset, tmp_path):
    result = brigade("train", "--dataset", dataset, "--run", tmp_path / "r", "--network", "lenet5", "--batch-size", 40,
                     "--learning-rate", 1e12, "--epochs", 3, ranks=2)
    assert "diverged" in only_error(result, 4)
