#!/usr/bin/env bash
# Training throughput of fashion-cnn beside PyTorch: same network, batch, ranks and threads, in alternation.
#
#   bash tests/peers/compare_training.sh [ROUNDS]        (3; needs bash jobs/setup.sh --peers, and the quickstart's dataset)
#
# Brigade trains on Fashion-MNIST from its shards, all logs on; PyTorch on random images in memory, in the better of its
# two memory formats, with tcmalloc. Figures are medians over steps (Brigade) or blocks of steps (PyTorch), then over rounds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/common.sh

rounds=${1:-3}
python=$(PYTHON=${PYTHON:-/usr/bin/python3} find_python)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# brigade RANKS THREADS ROUND
brigade() {
  run_ranks "$1" build/release/src/cli/brigade train --dataset datasets/fashion-mnist --run "$work/run-$1-$2-$3" \
    --network fashion-cnn --batch-size $((64 * $1)) --threads "$2" --max-steps 300 --validation-split none >/dev/null 2>&1
}
# pytorch RANKS THREADS ROUND
pytorch() {
  "$python" tests/peers/torch_train.py --network fashion-cnn --batch 64 --ranks "$1" --threads "$2" --format best \
    >"$work/torch-$1-$2-$3.json" 2>/dev/null
}

for ((round = 1; round <= rounds; ++round)); do
  for shape in "2 1" "1 2" "1 1"; do
    # shellcheck disable=SC2086
    brigade $shape $round && pytorch $shape $round
  done
done
"$python" - "$work" <<'PYTHON'
import glob, json, statistics, sys
import pandas

work = sys.argv[1]
print("ranks x threads   brigade   pytorch   ratio   (images/s, batch 64 a rank)")
for ranks, threads in ((2, 1), (1, 2), (1, 1)):
    ours, theirs = [], []
    for run in glob.glob(f"{work}/run-{ranks}-{threads}-*"):
        logs = [pandas.read_csv(path) for path in glob.glob(f"{run}/steps-*.csv")]
        slowest = pandas.concat([log["step_s"] for log in logs], axis=1).max(axis=1)[20:]
        ours.append(64 * ranks / slowest.median())
    for path in glob.glob(f"{work}/torch-{ranks}-{threads}-*.json"):
        with open(path) as file:
            theirs.append(json.loads(file.read().splitlines()[-1])["images_per_second"])
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{ranks} x {threads:<13} {a:9.0f} {b:9.0f} {a / b:7.2f}")
PYTHON
