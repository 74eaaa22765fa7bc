#!/usr/bin/env python3
"""Brigade's sums beside each algorithm of Open MPI's MPI_Allreduce, so that its best is known.

    /usr/bin/python3 tests/peers/compare_allreduce.py --ranks 2 --least 16M --most 64M --json allreduce.json

Open MPI takes the algorithm from the environment (coll_tuned_allreduce_algorithm), so each is a run of its own of
`brigade bench allreduce`, in which Brigade and MPI take turns and every sum is checked. Figures are medians over the runs' medians;
the ratio is Brigade's beside the fastest of MPI's algorithms.
"""
import argparse
import collections
import json
import os
import pathlib
import statistics
import tempfile

from programs import BRIGADE, run

ALGORITHMS = ["its own choice", "linear", "nonoverlapping", "recursive doubling", "ring", "segmented ring", "Rabenseifner"]
CHOICE = "OMPI_MCA_coll_tuned_"


def measure(options, algorithm, file):
    os.environ[CHOICE + "use_dynamic_rules"] = "1" if algorithm else "0"
    os.environ[CHOICE + "allreduce_algorithm"] = str(algorithm)
    placement = ["--oversubscribe", "--bind-to", "none"] if options.ranks > (os.cpu_count() or 1) else []
    run("mpirun", *placement, "-n", options.ranks, options.brigade, "bench", "allreduce", "--min-bytes", options.least,
        "--max-bytes", options.most, "--repetitions", options.repetitions, "--json", file)
    return json.loads(file.read_text())["rows"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--least", default="4K", help="bytes of the smallest array; each next is four times as large")
    parser.add_argument("--most", default="64M", help="bytes of the largest array")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each of MPI's algorithms")
    parser.add_argument("--repetitions", type=int, default=11, help="of each sum in a run")
    parser.add_argument("--brigade", default=BRIGADE, help="FILE: the program")
    parser.add_argument("--json", help="FILE to write")
    options = parser.parse_args()
    if os.geteuid() == 0:
        os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

    ours, theirs = collections.defaultdict(list), collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(options.rounds):
            for algorithm, name in enumerate(ALGORITHMS):
                for row in measure(options, algorithm, pathlib.Path(scratch) / "rows.json"):
                    if row["algorithm"] == "auto":
                        ours[row["bytes"]].append(row["seconds"]["median"])
                    elif row["algorithm"] == "MPI_Allreduce":
                        theirs[row["bytes"], name].append(row["seconds"]["median"])

    print(f"{options.ranks} ranks; microseconds, medians of {options.rounds} runs of {options.repetitions} sums")
    print("     KiB   Brigade  " + "  ".join(f"{name:>18}" for name in ALGORITHMS) + "   ratio to MPI's best")
    table = []
    for size, own in ours.items():
        row = {"bytes": size, "brigade_s": statistics.median(own),
               "mpi_s": {name: statistics.median(theirs[size, name]) for name in ALGORITHMS}}
        best = min(row["mpi_s"], key=row["mpi_s"].get)
        row |= {"best": best, "ratio": row["mpi_s"][best] / row["brigade_s"]}
        table.append(row)
        print(f"{size >> 10:8}  {1e6 * row['brigade_s']:8.1f}  "
              + "  ".join(f"{1e6 * row['mpi_s'][name]:18.1f}" for name in ALGORITHMS) + f"   {row['ratio']:.2f} ({best})")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"ranks": options.ranks, "rows": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
