#!/usr/bin/env python3
"""Brigade's decode, random resized crop, flip and normalise beside bare libjpeg-turbo, torchvision and Pillow.

    /usr/bin/python3 tests/peers/compare_decode.py --images FOLDER --json decode.json

FOLDER holds images in a folder for each class. They become 256x256 JPEGs of quality 90 first (`brigade shard`); then
each round decodes the same number of them in one thread with

    bare         libjpeg-turbo, to RGB
    Pillow       decode, bilinear resize to 224x224
    torchvision  decode, antialiased bilinear resize to 224x224
    Brigade      `brigade bench augment`: read, decode, random resized crop to 224x224, flip, normalise to float

and the figures are medians over the rounds. Needs a build in build/release, a C compiler with libjpeg, and PyTorch
(bash jobs/setup.sh --peers).
"""
import argparse
import io
import json
import pathlib
import statistics
import struct
import tempfile
import time

import h5py
import PIL.Image
import torch
import torchvision
from torchvision.transforms import InterpolationMode

from programs import BRIGADE, HERE, run

STORED, MADE, QUALITY = 256, 224, 90
WANTED = {"bare": 0.85, "torchvision": 1.5, "Pillow": 2.5}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, help="FOLDER of folders of images")
    parser.add_argument("--count", type=int, default=512, help="images a round and side")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--brigade", default=BRIGADE, help="FILE: the program")
    parser.add_argument("--json", help="FILE to write")
    return parser.parse_args()


def stored_files(dataset, count):
    files = []
    for shard in sorted(dataset.glob("train-*.h5")):
        with h5py.File(shard) as opened:
            blob, places = opened["encoded"][:].tobytes(), opened["offsets"][:]
        files += [blob[begin:end] for begin, end in zip(places, places[1:])]
    return files[:count]


def timed(work, files):
    begin = time.perf_counter()
    for file in files:
        work(file)
    return time.perf_counter() - begin


def with_pillow(file):
    image = PIL.Image.open(io.BytesIO(file)).convert("RGB")
    return image.resize((MADE, MADE), PIL.Image.Resampling.BILINEAR)


def with_torchvision(file):
    image = torchvision.io.decode_jpeg(torch.frombuffer(bytearray(file), dtype=torch.uint8))
    return torchvision.transforms.functional.resize(image, [MADE, MADE], InterpolationMode.BILINEAR, antialias=True)


def with_brigade(options, dataset, scratch):
    batches = max(1, options.count // options.batch_size)
    run(options.brigade, "bench", "augment", "--dataset", dataset, "--crop-size", MADE, "--augment",
        "flip,resized-crop=0.08:1", "--batch-size", options.batch_size, "--repetitions", batches, "--json", scratch)
    return json.loads(scratch.read_text())["read_augment_normalise_s"]["median"] / options.batch_size


def main():
    options = arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        dataset, blob, bare = directory / "dataset", directory / "files", directory / "bare"
        run(options.brigade, "shard", "--source", options.images, "--output", dataset, "--layout", "encoded",
            "--image-size", STORED, "--resize", "shorter-crop", "--quality", QUALITY)
        files = stored_files(dataset, options.count)
        blob.write_bytes(b"".join(struct.pack("<I", len(file)) + file for file in files))
        run("cc", "-O2", "-o", bare, HERE / "bare_jpeg.c", "-ljpeg")
        ways = {"bare": lambda: float(run(bare, blob)) / len(files),
                "torchvision": lambda: timed(with_torchvision, files) / len(files),
                "Pillow": lambda: timed(with_pillow, files) / len(files),
                "Brigade": lambda: with_brigade(options, dataset, directory / "result.json")}
        rounds = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, seconds_an_image in ways.items():
                rounds[name].append(1 / seconds_an_image())
    rates = {name: statistics.median(values) for name, values in rounds.items()}
    print(f"{options.rounds} rounds of {len(files)} JPEGs, one thread, images/s (median)\n")
    print(f"{'':<14}{'images/s':>10}{'Brigade over it':>18}{'wanted':>9}")
    for name, rate in rates.items():
        if name == "Brigade":
            print(f"{name:<14}{rate:>10.0f}")
        else:
            ratio = statistics.median(ours / theirs for ours, theirs in zip(rounds["Brigade"], rounds[name]))
            print(f"{name:<14}{rate:>10.0f}{ratio:>18.2f}{WANTED[name]:>9.2f}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"images_per_second": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
