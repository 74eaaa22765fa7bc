#!/usr/bin/env bash
#SBATCH --job-name=brigade-quickstart
#SBATCH --nodes=1
#SBATCH --ntasks=2
#SBATCH --time=00:15:00
#SBATCH --output=%x-%j.out
#
# From nothing to a trained network and a report: sets Brigade up, turns Fashion-MNIST into HDF5 shards
# with 2 ranks, trains a small CNN on them with 2 ranks, evaluates it, and draws a report.
#
#   bash jobs/quickstart.sh        on this machine (mpirun)
#   sbatch jobs/quickstart.sh      on a cluster, submitted from the repository's root (srun)
#
# --job-name         how squeue lists it
# --nodes, --ntasks  two ranks on one node, of one processor each (more threads: sbatch --cpus-per-task=4 ...)
# --time             two minutes, and what the build takes the first time
# --output           %x is the job's name, %j its number
#
# It computes on CPUs: this version of Brigade has no GPU backend (see jobs/train.sbatch).
#
# What is done already is skipped: run it again after an interruption, or remove runs/quickstart
# to train anew. RANKS, FASHION_MNIST (where the images are), DATASET and RUN (what is made) may be set in the
# environment: RANKS=4 bash jobs/quickstart.sh.
set -euo pipefail
if [ -n "${SLURM_JOB_ID:-}" ]; then  # Slurm runs a copy of this script from elsewhere
  cd "${SLURM_SUBMIT_DIR:?}"
  [ -e jobs/quickstart.sh ] || { echo "submit from the repository's root: sbatch jobs/quickstart.sh" >&2; exit 2; }
else
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
fi
. jobs/common.sh

ranks=${RANKS:-2}
images=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}  # gzip IDX files
dataset=$(realpath -m "${DATASET:-datasets/fashion-mnist}")
run=$(realpath -m "${RUN:-runs/quickstart}")
start=$SECONDS

train() {
  if grep -q '"exit_reason": *"done"' "$run/summary.json" 2>/dev/null; then
    echo "$run is finished (remove it to train anew)"
    return
  fi
  run_ranks "$ranks" "$brigade" train --dataset "$dataset" --run "$run" --resume \
    --network fashion-cnn --epochs 4 --batch-size 128 \
    --optimizer sgd --learning-rate 0.05 --weight-decay 5e-4 --schedule cosine --warmup-epochs 0.2
}

bash jobs/setup.sh
find_python >/dev/null  # what the report needs is missed now, not after training
brigade=$(brigade_binary)
step "shard" run_ranks "$ranks" "$brigade" shard --source "$images" --output "$dataset"
step "train" train
step "evaluate" run_ranks "$ranks" "$brigade" evaluate --dataset "$dataset" --run "$run" --split test
step "report" analysis/brigade-analysis report "$run"
echo "finished in $((SECONDS - start)) s; open $run/report/index.html"
