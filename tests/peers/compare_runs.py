#!/usr/bin/env python3
"""Trains in several ways, in alternation, and prints speed and accuracy side by side.

    /usr/bin/python3 tests/peers/compare_runs.py --dataset datasets/fashion-mnist --ranks 2 \\
        --common "--network fashion-cnn --batch-size 128 --micro-batches 4 --max-steps 200 --validation-split none" \\
        -- "" "--reproducible"

Each positional argument is one way: options of `brigade train` added to --common; the first is what the others are compared
with. Speeds are medians over the repetitions, ratios medians of the ratios within a repetition.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

from programs import BRIGADE


def train(arguments, way, directory):
    command = [arguments.brigade, "train", "--dataset", arguments.dataset, "--run", str(directory),
               *shlex.split(arguments.common), *shlex.split(way)]
    if arguments.ranks > 1:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(arguments.ranks), *command]
    result = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout)
    if result.returncode != 0:
        sys.exit(f"compare_runs: {shlex.join(command)} ended with {result.returncode}:\n{result.stderr}")
    return json.loads((directory / "summary.json").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="made by `brigade shard`")
    parser.add_argument("--brigade", default=BRIGADE, help="the program")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one run")
    parser.add_argument("--common", default="", help="options of all ways")
    parser.add_argument("ways", nargs="+", help="options of one way, quoted")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_PROC_BIND", "false")

    summaries = [[] for _ in arguments.ways]
    with tempfile.TemporaryDirectory() as scratch:
        for repetition in range(arguments.repetitions):
            for number, way in enumerate(arguments.ways):
                directory = pathlib.Path(scratch) / f"{repetition}-{number}"
                summaries[number].append(train(arguments, way, directory))

    speeds = [[summary["images_per_second"] for summary in runs] for runs in summaries]
    print(f"{arguments.ranks} ranks, medians of {arguments.repetitions} alternated runs of: {arguments.common}")
    print("images/s  ratio  accuracy  options")
    for way, own, runs in zip(arguments.ways, speeds, summaries):
        ratio = statistics.median(a / b for a, b in zip(own, speeds[0]))
        accuracies = [run["val_accuracy"] for run in runs if run.get("val_accuracy") is not None]
        accuracy = f"{100 * statistics.median(accuracies):.2f} %" if accuracies else "-"
        print(f"{statistics.median(own):8.0f}  {ratio:5.3f}  {accuracy:>8}  {way or '(as in common)'}")


if __name__ == "__main__":
    main()
