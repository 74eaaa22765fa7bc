"""`brigade bench io` as a user meets it."""
import csv
import json
import shutil

import pytest


@pytest.fixture(scope="session")
def work(brigade, tmp_path_factory):
    """All formats of 90 made-up images."""
    directory = tmp_path_factory.mktemp("io") / "work"
    result = brigade("bench", "io", "--synthesise", 90, "--image-size", "24x17", "--work", directory, "--batch-size", 8,
                     "--batches", 2, "--repetitions", 1, ranks=2)
    assert result.code == 0, result.all_err
    return directory


def made(work):
    return ["--synthesise", 90, "--image-size", "24x17", "--work", work]


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def only_error(result, code):
    assert result.code == code and len(result.errors) == 1, result.all_err
    return result.errors[0]


def test_formats_hold_the_same_images(work):
    assert len(list((work / "files").rglob("*.jpg"))) == 90
    assert (work / "tfrecord/train-00000-of-00001.tfrecord").exists()
    assert (work / "made-of.txt").read_text() == "90 synthetic JPEG images of 24x17, seed 1\n"
    assert {json.loads((work / layout / "manifest.json").read_text())["layout"] for layout in ("raw", "encoded")} == {
        "raw", "encoded"}


def test_every_combination_is_measured_and_logged_by_every_rank(brigade, work, tmp_path):
    result = brigade("bench", "io", *made(work), "--format", "files,tfrecord,raw,encoded", "--reader",
                     "mmap,independent", "--cache", "warm,cold", "--batch-size", "4,8", "--batches", "3",
                     "--dataset-size", "40,0", "--repetitions", 2, "--output", tmp_path / "out", "--json",
                     tmp_path / "io.json", ranks=2)
    assert result.code == 0, result.all_err
    report = json.loads((tmp_path / "io.json").read_text())
    points = [(row["format"], row["reader"], row["cache"], row["batch_size"], row["batches"], row["dataset_images"])
              for row in report["rows"]]
    assert len(points) == len(set(points)) == 6 * 2 * 2 * 2
    assert {point[:2] for point in points} == {("files", "source"), ("tfrecord", "source"), ("raw", "mmap"),
                                               ("raw", "independent"), ("encoded", "mmap"), ("encoded", "independent")}
    assert report["ranks"] == 2 and report["image"] == [24, 17, 3] and report["checked"]
    for row in report["rows"]:
        assert len(row["repetitions"]) == 2
        for once in row["repetitions"]:
            assert once["images"] == 2 * 3 * row["batch_size"]
            assert abs(once["images_per_s"] * once["seconds"] / once["images"] - 1) < 1e-6
            if row["format"] == "raw":
                assert once["stored_bytes"] == once["images"] * 24 * 17 * 3 and once["decode_s"] == 0
            else:
                assert once["decode_s"] > 0 and 0 < once["stored_bytes"] < once["images"] * 24 * 17 * 3
            if row["cache"] == "warm":
                assert once["resident_before"] == 1
    for rank in range(2):
        rows = rows_of(tmp_path / f"out/io-0000{rank}.csv")
        assert len(rows) == 2 * len(points) and all(int(row["rank"]) == rank for row in rows)
        assert all(int(row["images"]) == 3 * int(row["batch_size"]) for row in rows)
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["ranks"] == 2 and run["options"]["batch-size"] == "4,8"
    assert "posix_fadvise" in result.out and "read and compared first" in result.out


def test_orders(brigade, work, tmp_path):
    result = brigade("bench", "io", *made(work), "--format", "raw", "--order", "shuffled,sequential", "--batch-size", 8,
                     "--batches", 7, "--repetitions", 1, "--json", tmp_path / "io.json", ranks=2)  # more than an epoch
    assert result.code == 0, result.all_err
    rows = json.loads((tmp_path / "io.json").read_text())["rows"]
    assert [row["order"] for row in rows] == ["shuffled", "sequential"]
    assert all(row["repetitions"][0]["images"] == 112 for row in rows)


def test_reading_alone(brigade, work, tmp_path):
    result = brigade("bench", "io", *made(work), "--format", "raw", "--pipeline", "read", "--batch-size", 8, "--batches",
                     4, "--repetitions", 1, "--output", tmp_path / "out")
    assert result.code == 0, result.all_err
    row, = rows_of(tmp_path / "out/io-00000.csv")
    assert row["pipeline"] == "read" and row["prefetch"] == "0" and float(row["augment_s"]) == 0
    assert int(row["stored_bytes"]) == 8 * 4 * 24 * 17 * 3


def test_emulated_computing_is_most_of_the_time(brigade, work, tmp_path):
    result = brigade("bench", "io", *made(work), "--format", "raw", "--batch-size", 4, "--batches", 5, "--repetitions", 1,
                     "--emulate-compute", 40, "--json", tmp_path / "io.json")
    assert result.code == 0, result.all_err
    once, = json.loads((tmp_path / "io.json").read_text())["rows"][0]["repetitions"]
    assert 0.2 < once["utilisation"] <= 1 and abs(once["compute_s"] - 0.2) < 1e-9 and once["seconds"] >= 0.2
    assert "use = that time" in result.out


def test_a_dataset_as_it_is_trained_on(brigade, dataset, tmp_path):
    result = brigade("bench", "io", "--dataset", dataset, "--batch-size", 16, "--batches", 2, "--repetitions", 1, "--json",
                     tmp_path / "io.json", ranks=3)
    assert result.code == 0, result.all_err
    report = json.loads((tmp_path / "io.json").read_text())
    assert [row["format"] for row in report["rows"]] == ["raw"] and report["dataset_images"] == 600
    assert report["rows"][0]["repetitions"][0]["images"] == 96


def test_formats_that_differ_are_noticed(brigade, work, tmp_path):
    damaged = tmp_path / "work"
    shutil.copytree(work, damaged)
    first, second = sorted((damaged / "files").rglob("*.jpg"))[:2]
    shutil.copy(second, first)
    error = only_error(brigade("bench", "io", *made(damaged), "--format", "files,raw"), 3)
    assert "deliver different images" in error
    first.unlink()
    assert "89 images (expected 90)" in only_error(brigade("bench", "io", *made(damaged), "--format", "files"), 3)
    shard = next((damaged / "raw").glob("train-*.h5"))
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    result = brigade("bench", "io", *made(damaged), "--format", "raw", "--batch-size", 8, ranks=2)
    assert result.code == 3 and "CRC-32C" in result.errors[0], result.all_err


def test_presets(brigade, tmp_path):
    result = brigade("bench", "io", "--preset", "mlperf-storage-resnet50", "--help")
    assert result.code == 0
    for words in ("--emulate-compute arg (=224)", "--batch-size arg (=400)", "--image-size arg (=195x196)"):
        assert words in result.out


def test_reader_options_reach_the_readers(brigade, work, tmp_path):
    result = brigade("bench", "io", *made(work), "--format", "raw", "--reader", "collective,stage", "--stage-dir",
                     tmp_path / "stage", "--mpi-io-hints", "romio_cb_read=enable,cb_buffer_size=1048576", "--batch-size", 8,
                     "--batches", 3, "--repetitions", 2, "--output", tmp_path / "out", "--json", tmp_path / "io.json", ranks=2)
    assert result.code == 0, result.all_err
    collective, stage = json.loads((tmp_path / "io.json").read_text())["rows"]
    shards = len(list((work / "raw").glob("train-*.h5")))
    for once in collective["repetitions"]:  # each rank's every batch asks for every shard
        assert once["collective_calls"] == 2 * 3 * shards and once["collective_reads"] == once["collective_calls"]
    assert all(once["collective_calls"] == 0 for once in stage["repetitions"])
    assert "HDF5 did" in result.out and len(list((tmp_path / "stage").rglob("train-*.h5"))) == shards
    for row in rows_of(tmp_path / "out/io-00000.csv"):
        expected = 3 * shards if row["reader"] == "collective" else 0
        assert int(row["collective_calls"]) == int(row["collective_reads"]) == expected
    options = json.loads((tmp_path / "out/run.json").read_text())["options"]
    assert options["stage-dir"] == str(tmp_path / "stage") and "cb_buffer_size" in options["mpi-io-hints"]
    assert "KEY=VALUE" in only_error(brigade("bench", "io", *made(work), "--mpi-io-hints", "romio_cb_read"), 2)


def test_wrong_calls(brigade, work, dataset, tmp_path):
    call = ["bench", "io"]
    assert "give one of --dataset" in only_error(brigade(*call), 2)
    assert "--work DIR is missing" in only_error(brigade(*call, "--synthesise", 5), 2)
    assert "give one of" in only_error(brigade(*call, "--dataset", dataset, "--source", dataset), 2)
    assert "'hdf4' is not one of files, tfrecord, raw, encoded" in only_error(
        brigade(*call, *made(work), "--format", "raw,hdf4"), 2)
    assert "--batch-size: '4x'" in only_error(brigade(*call, *made(work), "--batch-size", "4x"), 2)
    assert "exceeds the 90 images" in only_error(brigade(*call, *made(work), "--dataset-size", 91), 2)
    assert "exceeds the 90 images" in only_error(brigade(*call, *made(work), "--batch-size", 46, ranks=2), 2)
    assert "2 or more" in only_error(brigade(*call, *made(work), "--batches", 1, "--emulate-compute", 1), 2)
    assert "holds formats of 90 synthetic" in only_error(
        brigade(*call, "--synthesise", 91, "--image-size", "24x17", "--work", work), 2)
    assert "holds raw shards, not encoded" in only_error(brigade(*call, "--dataset", dataset, "--format", "encoded"), 2)
    assert "need --pipeline train" in only_error(
        brigade(*call, *made(work), "--pipeline", "read", "--augment", "flip"), 2)
    assert "no such file" in only_error(
        brigade(*call, "--source", tmp_path / "none", "--work", tmp_path / "w"), 3).lower()
