#!/usr/bin/env python3
"""A step of Brigade beside PyTorch's: same network, batch, threads and precision, in alternation.

    /usr/bin/python3 tests/peers/compare_step.py --threads 2 --json ratios.json
    analysis/brigade-analysis ratios ratios.json

Needs a build in build/release and PyTorch (bash jobs/setup.sh --peers). Each round runs `brigade bench step`, then
torch_step.py; from the second round on PyTorch runs in the way that was its fastest in the first one. Figures are
medians over the rounds' medians; memory is the peak resident set of a process that runs this step alone.
"""
import argparse
import datetime
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

from programs import BRIGADE, HERE

BATCHES = {"resnet50": 16, "densenet121": 16, "inception-v3": 8, "mobilenet": 32, "mobilenet-v2": 32, "tiny-model1": 64,
           "tiny-model2": 64, "fashion-cnn": 64}  # the usual comparison


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", default=list(BATCHES), metavar="NAME", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, help="default: 1 for inference, else 8 ... 64 by network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--inference", action="store_true", help="forward only")
    parser.add_argument("--compile", action="store_true", help="PyTorch may compile, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=5, help="in a round, on each side")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--brigade", default=BRIGADE, help="FILE: the program")
    parser.add_argument("--json", required=True, help="FILE to write")
    return parser.parse_args()


def result_of(command):
    with tempfile.TemporaryDirectory() as directory:
        result = pathlib.Path(directory, "result.json")
        done = subprocess.run([*command, "--json", str(result)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")
        return json.loads(result.read_text())


def shared(options, network):
    batch = options.batch_size or (1 if options.inference else BATCHES.get(network, 16))
    command = ["--network", network, "--batch-size", str(batch), "--threads", str(options.threads),
               "--repetitions", str(options.repetitions), "--warmup", str(options.warmup)]
    return command + (["--inference"] if options.inference else []) + (
        ["--precision", options.precision] if options.precision != "fp32" else [])


def brigade(options, network):
    step = result_of([options.brigade, "bench", "step", *shared(options, network)])
    return {"images_per_second": step["images_per_second"]["median"], "step_s": step["step_s"]["median"],
            "peak_rss_bytes": step["peak_rss_bytes"], "share_of_peak": step["share_of_peak"], "batch_size": step["images"][0],
            "parameters": step["parameters"]}


def pytorch(options, network, variant, memory):
    choice = ["--variants", variant] if variant else ["--compile"] if options.compile else []
    (row,) = result_of([sys.executable, str(HERE / "torch_step.py"), *shared(options, network), *choice,
                        *([] if memory else ["--no-memory"])])
    return row


def compared(options, network):
    ours, theirs = [], []
    for number in range(options.rounds):
        ours.append(brigade(options, network))
        theirs.append(pytorch(options, network, theirs[0]["variant"] if theirs else None, number == options.rounds - 1))
    if ours[0]["parameters"] != theirs[0]["parameters"]:
        sys.exit(f"{network} has {ours[0]['parameters']} parameters in Brigade and {theirs[0]['parameters']} in PyTorch")

    def median(rounds, key):
        return statistics.median(r[key] for r in rounds)

    row = {"network": network, "mode": "inference" if options.inference else "training", "precision": options.precision,
           "batch_size": ours[0]["batch_size"], "threads": options.threads}
    row["brigade"] = {key: median(ours, key) for key in ("images_per_second", "step_s", "peak_rss_bytes", "share_of_peak")}
    row["pytorch"] = {key: median(theirs, key) for key in ("images_per_second", "step_s")} | {
        "peak_rss_bytes": theirs[-1]["peak_rss_bytes"], "variant": theirs[0]["variant"], "version": theirs[0]["torch"],
        "allocator": theirs[0]["allocator"]}
    row["rounds"] = [{"brigade_step_s": a["step_s"], "pytorch_step_s": b["step_s"]} for a, b in zip(ours, theirs)]
    return row


def main():
    options = arguments()
    rows = []
    for network in options.network:
        rows.append(row := compared(options, network))
        ours, theirs = row["brigade"]["images_per_second"], row["pytorch"]["images_per_second"]
        print(f"{network}: {ours:.1f} and {theirs:.1f} images/s, ratio {ours / theirs:.2f}", flush=True)
        with open(options.json, "w") as out:  # after each network: a long comparison may be cut short
            json.dump({"benchmark": "compare_step", "host": platform.node(), "date": datetime.date.today().isoformat(),
                       "rows": rows}, out, indent=1)


if __name__ == "__main__":
    main()
