"""`brigade shard` as a user meets it: interruptions, full disks, layouts, lists of bad images."""
import io
import json
import signal
import subprocess
import tarfile
import time

import numpy
import pytest
from PIL import Image

from conftest import BRIGADE, ENVIRONMENT
from test_cli import TRAIN, digest, only_error


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """600 JPEG files in three classes: enough work to be interrupted in."""
    directory = tmp_path_factory.mktemp("photos")
    generator = numpy.random.default_rng(5)
    for label in ("birch", "oak", "pine"):
        (directory / label).mkdir()
        for i in range(200):
            small = Image.fromarray(generator.integers(0, 255, (6, 8, 3), dtype=numpy.uint8))
            small.resize((160 + i % 7, 120), Image.BICUBIC).save(directory / label / f"{i:03}.jpg", quality=85)
    return directory


def shard(brigade, source, output, *options, **keywords):
    return brigade("shard", "--source", source, "--output", output, *options, **keywords)


def test_killed_at_any_moment_it_goes_on_where_it_was(brigade, photos, tmp_path):
    options = ["--image-size", 64, "--shards", 12, "--threads", 1]
    assert shard(brigade, photos, tmp_path / "whole", *options, ranks=2).code == 0
    command = [str(BRIGADE), "shard", "--source", photos, "--output", tmp_path / "killed", *map(str, options)]
    for delay in (0.05, 0.15, 0.3):
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = shard(brigade, photos, tmp_path / "killed", *options)
    assert result.code == 0, result.all_err
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


@pytest.mark.parametrize("layout", ["raw", "encoded"])
def test_a_full_disk(brigade, photos, small_disk, layout):
    result = shard(brigade, photos, small_disk / "d", "--image-size", 64, "--shards", 1, "--layout", layout)
    assert "Is the disk full?" in only_error(result, 3)
    assert "HDF5-DIAG" not in result.all_err and list((small_disk / "d").iterdir()) == []


def test_layouts_train_alike(brigade, dataset, tmp_path):
    losses = {}
    for name, options in {"raw": [], "deflate": ["--deflate", 4], "encoded": ["--layout", "encoded"]}.items():
        result = shard(brigade, dataset, tmp_path / name, "--samples-per-shard", 128, *options)
        assert result.code == 0, result.all_err
        assert brigade("inspect", "--dataset", tmp_path / name, ranks=2).code == 0
        result = brigade("train", "--dataset", tmp_path / name, "--run", tmp_path / f"run-{name}", *TRAIN[:2], "--epochs", 1,
                         *TRAIN[4:])
        assert result.code == 0, result.all_err
        lines = (tmp_path / f"run-{name}" / "epochs.csv").read_text().splitlines()
        losses[name] = [line.split(",")[:6] for line in lines]
    assert losses["raw"] == losses["deflate"] == losses["encoded"]


def test_split_classes_and_limit(brigade, photos, tmp_path):
    result = shard(brigade, photos, tmp_path / "d", "--image-size", 16, "--classes", "pine,birch", "--limit-per-class", 50,
                   "--split", "train=0.8,val=0.2", ranks=2)
    assert result.code == 0, result.all_err
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert manifest["classes"] == ["pine", "birch"]
    assert {name: split["samples"] for name, split in manifest["splits"].items()} == {"train": 80, "val": 20}
    for split in ("0.8", "train=x", "train=0.5,train=0.5", "a/b=1"):
        only_error(shard(brigade, photos, tmp_path / "e", "--split", split), 2)


def test_bad_images_are_listed_in_a_file(brigade, photos, tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for i, path in enumerate(sorted(photos.glob("oak/*"))[:20]):
            image = path.read_bytes()
            for name, content in ((f"{i}.jpg", image[:1000] if i in (3, 11) else image), (f"{i}.cls", b"%d" % (i % 2))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    options = ["--image-size", 16, "--skip-bad"]
    assert shard(brigade, archive, tmp_path / "d", *options, ranks=2).code == 0
    lines = (tmp_path / "d" / "quarantine.txt").read_text().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["train", "a.tar#11.jpg"], ["train", "a.tar#3.jpg"]]
    archive.write_bytes(archive.read_bytes()[:-20_000])
    assert "truncated" in only_error(shard(brigade, archive, tmp_path / "d", *options, ranks=2), 3)
