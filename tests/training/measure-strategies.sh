#!/usr/bin/env bash
# The accuracy that every strategy reaches on Fashion-MNIST with the same samples and steps: mean and scatter over seeds.
#
#   bash tests/training/measure-strategies.sh [DATASET [OUT [EPOCHS [SEEDS]]]]
#                                             (datasets/fashion-mnist runs/strategies 2 3)
#
# Two ranks train where a strategy knows ranks, servers come on top; one-device computes both micro-batches itself.
# Finished runs are left as they are. Takes about 20 s a run on two idle cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/common.sh
dataset=${1:-datasets/fashion-mnist} out=${2:-runs/strategies} epochs=${3:-2} seeds=${4:-3}
brigade=$(brigade_binary)
python=$(find_python)

strategies="one-device mirrored multi-worker local-sgd parameter-server parameter-server-async multi-worker-nesterov parameter-server-async-nesterov"
ranks_of() { case $1 in one-device) echo 1 ;; parameter-server*) echo 3 ;; *) echo 2 ;; esac; }
options_of() {
  case $1 in
    local-sgd) echo --strategy local-sgd --sync-every 8 ;;
    *-nesterov) echo "$(options_of "${1%-nesterov}")" --nesterov ;;
    parameter-server-async) echo --strategy parameter-server --servers 1 --async --staleness 4 ;;
    parameter-server) echo --strategy parameter-server --servers 1 ;;
    *) echo --strategy "$1" ;;
  esac
}

for seed in $(seq "$seeds"); do
  for strategy in $strategies; do
    run=$out/$strategy-$seed
    [ ! -e "$run/summary.json" ] || continue
    read -ra options <<<"$(options_of "$strategy")"
    run_ranks "$(ranks_of "$strategy")" "$brigade" train --dataset "$dataset" --run "$run" "${options[@]}" --threads 1 \
      --network fashion-cnn --epochs "$epochs" --seed "$seed" --batch-size 128 --micro-batches 2 --checkpoint-every 0 \
      --optimizer sgd --learning-rate 0.05 --weight-decay 5e-4 --schedule cosine --warmup-epochs 0.2
  done
done

# shellcheck disable=SC2086  # one argument a strategy
"$python" - "$out" $strategies <<'PYTHON'
import json, pathlib, statistics, sys
out, strategies = pathlib.Path(sys.argv[1]), sys.argv[2:]
print(f"| {'strategy':31} | ranks | {'accuracy, %':13} | {'of each seed':24} | validation loss |\n|---|---|---|---|---|")
for strategy in strategies:
    runs = sorted(out.glob(f"{strategy}-[0-9]*"))
    summaries = [json.loads((run / "summary.json").read_text()) for run in runs]
    ranks = json.loads((runs[0] / "run.json").read_text())["ranks"]
    accuracy = [100 * summary["val_accuracy"] for summary in summaries]
    scatter = f" ± {statistics.stdev(accuracy):.2f}" if len(accuracy) > 1 else ""
    print(f"| {strategy:31} | {ranks:5} | {f'{statistics.mean(accuracy):.2f}{scatter}':13} | "
          f"{', '.join(f'{value:.2f}' for value in accuracy):24} | "
          f"{statistics.mean(summary['val_loss'] for summary in summaries):.4f} |")
PYTHON
