#!/usr/bin/env python3
"""Brigade's reading beside h5py, memory maps, Pillow, torchvision, DataLoader and dd, in alternation on the same files.

    /usr/bin/python3 tests/peers/compare_io.py --images FOLDER --work DIR --json io.json

Three comparisons; figures are medians over the rounds, ratios are medians of the rounds' ratios:

    random   raw shards of made-up 64x64 images in random order, one thread, into batches, page cache warm: Brigade in
             a first epoch, which compares every image's checksum, and in three later ones, against a bare copy from
             memory maps (copy_mapped.c), the first time and later, and h5py, an image at a time
    decode   the images of FOLDER at 64x64: Brigade's raw shards and Brigade's, Pillow's, torchvision's and DataLoader's
             decoding and resizing of the files, page cache warm
    cold     the shards of `random`, dropped from the page cache: Brigade in the order of the files (by H5Dread, and by
             memory map), Brigade shuffled, and dd of the whole files

Needs a build in build/release, a C compiler, and PyTorch (bash jobs/setup.sh --peers).
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import sys
import time

import h5py
import numpy
import PIL.Image

from programs import BRIGADE, HERE, run

SIDE, BATCH = 64, 64
# (comparison, ours, theirs): ours over theirs, at least
WANTED = {("random", "Brigade, first epoch", "h5py"): 4, ("random", "Brigade, first epoch", "bare copy, first time"): 0.8,
          ("random", "Brigade, later epochs", "h5py"): 4, ("random", "Brigade, later epochs", "bare copy, later"): 0.8,
          ("decode", "Brigade, raw shards", "Brigade, files"): 100, ("cold", "Brigade, in order", "dd"): 0.9}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, help="FOLDER of folders of JPEG images")
    parser.add_argument("--work", required=True, help="DIR on the storage to be measured; what is made there is kept")
    parser.add_argument("--only", choices=["random", "decode", "cold"], help="one comparison; without it, all")
    parser.add_argument("--synthetic", type=int, default=20000, help="made-up images")
    parser.add_argument("--decoded", type=int, default=512, help="files a round and side of `decode`")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--brigade", default=BRIGADE, help="FILE: the program")
    parser.add_argument("--json", help="FILE to write")
    return parser.parse_args()


def bench(options, *more, reader="mmap"):
    """The one measurement of one row."""
    scratch = pathlib.Path(options.work) / "result.json"
    run(options.brigade, "bench", "io", "--pipeline", "read", "--reader", reader, "--batch-size", BATCH, "--repetitions",
        1, "--json", scratch, *more)
    return json.loads(scratch.read_text())["rows"][0]["repetitions"][0]


def make(options, name, *what):
    """Formats in a directory of their own, checked once. Returns it."""
    work = pathlib.Path(options.work) / name
    bench(options, "--work", work, "--batches", 1, *what)
    return work


def shards_of(work):
    return sorted((work / "raw").glob("train-*.h5"))


def drop(files):
    """As `brigade bench io --cache cold` does."""
    for path in files:
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# ---- random

def compare_random(options):
    work = make(options, "synthetic", "--synthesise", options.synthetic, "--image-size", SIDE, "--format", "raw")
    copy_mapped = pathlib.Path(options.work) / "copy_mapped"
    run("cc", "-O2", "-o", copy_mapped, HERE / "copy_mapped.c")
    places = []
    for shard in shards_of(work):
        with h5py.File(shard) as file:
            places += [shard, file["images"].id.get_offset(), len(file["images"])]
    steps = options.synthetic // BATCH

    def ours():
        once = bench(options, "--dataset", work / "raw", "--skip-check", "--batches", 4 * steps)
        first = once["first_pass_s"]
        return {"first epoch": steps * BATCH / first, "later epochs": 3 * steps * BATCH / (once["seconds"] - first)}

    def bare():
        first, later = map(float, run(copy_mapped, SIDE * SIDE * 3, BATCH, *places).split())
        return {"first time": first, "later": later}

    return {"Brigade": ours, "bare copy": bare, "h5py": lambda: with_h5py(work)}


def with_h5py(work):
    files = [h5py.File(shard) for shard in shards_of(work)]
    images = [file["images"] for file in files]
    order = [(shard, row) for shard, data in enumerate(images) for row in range(len(data))]
    random.Random(1).shuffle(order)
    batch = numpy.zeros((BATCH, SIDE, SIDE, 3), numpy.uint8)
    begin = time.perf_counter()
    for i, (shard, row) in enumerate(order):
        batch[i % BATCH] = images[shard][row]
    return len(order) / (time.perf_counter() - begin)


# ---- decode

def compare_decode(options):
    import torch
    torch.set_num_threads(1)
    images = make(options, "images", "--source", options.images, "--image-size", SIDE, "--format", "raw,files")
    files = sorted((images / "files").rglob("*.jpg"))
    random.Random(1).shuffle(files)
    files = files[:options.decoded]
    common = ["--source", options.images, "--work", images, "--image-size", SIDE, "--skip-check"]

    def ours(kind, batches):
        return lambda: bench(options, *common, "--format", kind, "--batches", batches)["images_per_s"]

    return {"Brigade, raw shards": ours("raw", 8 * options.decoded // BATCH),
            "Brigade, files": ours("files", options.decoded // BATCH),
            "Pillow": lambda: rate(with_pillow, files), "torchvision": lambda: rate(with_torchvision, files),
            "DataLoader, 2 workers": lambda: with_loader(files)}


def rate(work, files):
    begin = time.perf_counter()
    for file in files:
        work(file)
    return len(files) / (time.perf_counter() - begin)


def with_pillow(file):
    return numpy.asarray(PIL.Image.open(file).convert("RGB").resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR))


def with_torchvision(file):
    import torchvision
    image = torchvision.io.read_image(str(file), torchvision.io.ImageReadMode.RGB)
    return torchvision.transforms.functional.resize(image, [SIDE, SIDE], antialias=True)


class Files:
    """A dataset of torch."""

    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return with_torchvision(self.files[index])


def with_loader(files):
    """From the first batch on: starting the workers is not counted."""
    import torch
    batches = iter(torch.utils.data.DataLoader(Files(files), batch_size=BATCH, num_workers=2))
    next(batches)
    begin = time.perf_counter()
    read = sum(len(batch) for batch in batches)
    return read / (time.perf_counter() - begin)


# ---- cold

def compare_cold(options):
    work = make(options, "synthetic", "--synthesise", options.synthetic, "--image-size", SIDE, "--format", "raw")
    common = ["--dataset", work / "raw", "--skip-check", "--cache", "cold", "--batches", options.synthetic // BATCH]

    def ours(order, reader):
        once = bench(options, *common, "--order", order, reader=reader)
        if once["resident_before"] > 0.01:
            sys.exit(f"{once['resident_before']:.0%} of the files stayed in the page cache: nothing cold can be measured here")
        return once["stored_bytes"] / (once["seconds"] + once["open_s"]) / 1e6

    def with_dd():
        files = shards_of(work)
        drop(files)
        begin = time.perf_counter()
        for path in files:
            run("dd", f"if={path}", "of=/dev/null", "bs=1M")
        return sum(path.stat().st_size for path in files) / (time.perf_counter() - begin) / 1e6

    return {"Brigade, in order": lambda: ours("sequential", "independent"),
            "Brigade, in order, mmap": lambda: ours("sequential", "mmap"),
            "Brigade, shuffled, mmap": lambda: ours("shuffled", "mmap"), "dd": with_dd}


COMPARISONS = {"random": ("images/s", compare_random), "decode": ("images/s", compare_decode), "cold": ("MB/s", compare_cold)}


def parts(way, measured):
    """The figures of one measurement by their names."""
    if not isinstance(measured, dict):
        return [(way, measured)]
    return [(f"{way}, {part}", figure) for part, figure in measured.items()]


def main():
    options = arguments()
    pathlib.Path(options.work).mkdir(parents=True, exist_ok=True)
    results = {}
    for name in [options.only] if options.only else COMPARISONS:
        unit, prepare = COMPARISONS[name]
        ways = prepare(options)
        rounds = {}
        for _ in range(options.rounds):
            for way, measure in ways.items():
                for part, figure in parts(way, measure()):
                    rounds.setdefault(part, []).append(figure)
        results[name] = rounds
        print(f"\n{name}: {unit}, median (lowest to highest) of {options.rounds} rounds, one thread unless said otherwise\n")
        for way, rates in rounds.items():
            print(f"  {way:<26}{statistics.median(rates):>12,.0f}  ({min(rates):,.0f} to {max(rates):,.0f})")
        for (of, ours, theirs), wanted in WANTED.items():
            if of == name:
                ratio = statistics.median(a / b for a, b in zip(rounds[ours], rounds[theirs]))
                print(f"  {ours} over {theirs}: {ratio:.2f} (wanted: {wanted})")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"comparison": "io", "rounds": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
