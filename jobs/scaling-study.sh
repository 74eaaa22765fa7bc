#!/usr/bin/env bash
# A scaling study: the same training on 1, 2, 4 ... nodes, several times each, and a report of what limits it.
#
#   bash jobs/scaling-study.sh --dataset DIR [--nodes "1 2 4"] [--mode strong|weak|both] [--batch-size N]
#                              [--repetitions R] [--steps S] [--out DIR] [--local] [-- TRAIN OPTIONS...]
#
#   --nodes LIST       node counts; with --local rank counts on this machine                          ("1 2 4")
#   --mode MODE        strong: the global batch stays the same; weak: that of a node does              (both)
#   --batch-size N     global images a step: strong at every node count, weak at the first one         (256)
#   --repetitions R    of each, for the error bars; they are interleaved                                (3)
#   --steps S          optimizer steps of each run; the first tenth is left out as warm-up              (100)
#   --out DIR          runs go to DIR/strong-2-1 (mode, nodes, repetition), the report to DIR/report   (runs/scaling)
#   --local            by mpirun on this machine, one after another, instead of sbatch
#   --sbatch OPTIONS   handed to sbatch, e.g. "--partition=gpu --ntasks-per-node=4 --time=00:20:00"
#
# Under Slurm every run is a job of its own (jobs/train.sbatch, where the directives are explained), and one more job
# with --dependency=afterany makes the report when all have ended. After `--` come options of `brigade train`, the same
# for all runs: bash jobs/scaling-study.sh --dataset datasets/fashion-mnist -- --network fashion-cnn --allreduce ring
# The runs neither validate nor write checkpoints but the last, so that nothing but training steps is measured. A run
# that is finished already is left as it is.
set -euo pipefail
cd "${BRIGADE_ROOT:-${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}}"
[ -e jobs/common.sh ] || { echo "start from the repository's root, or set BRIGADE_ROOT" >&2; exit 2; }
. jobs/common.sh

nodes="1 2 4" mode=both batch=256 repetitions=3 steps=100 out=runs/scaling dataset= local_only= sbatch_options=
analyse_only=
fail() { echo "scaling-study: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --local) local_only=1; shift; continue ;;
    --analyse) analyse_only=1; shift; continue ;;  # what the dependent job does
    --) shift; break ;;
    --nodes | --mode | --batch-size | --repetitions | --steps | --out | --dataset | --sbatch) [ $# -ge 2 ] || fail "$1 wants a value" ;;
    *) fail "unknown option $1 (options of brigade train come after --)" ;;
  esac
  case $1 in
    --nodes) nodes=$2 ;;
    --mode) mode=$2 ;;
    --batch-size) batch=$2 ;;
    --repetitions) repetitions=$2 ;;
    --steps) steps=$2 ;;
    --out) out=$2 ;;
    --dataset) dataset=$2 ;;
    --sbatch) sbatch_options=$2 ;;
  esac
  shift 2
done

analyse() {
  local python
  python=$(find_python)
  PYTHONPATH=analysis "$python" -m brigade_analysis scaling --output "$out/report" "$out"/strong-* "$out"/weak-*
}

[ -z "$analyse_only" ] || { shopt -s nullglob; analyse; exit; }
[ -n "$dataset" ] || fail "--dataset is missing"
for number in $nodes $batch $repetitions $steps; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || fail "'$number' is no positive number"
done
case $mode in
  both) modes="strong weak" ;;
  strong | weak) modes=$mode ;;
  *) fail "--mode $mode is none of strong, weak, both" ;;
esac
read -r first _ <<<"$nodes"

# run MODE NODES REPETITION TRAIN OPTIONS...: starts one run, or submits it and adds its number to `jobs`.
jobs=()
run() {
  local name=$1-$2-$3 count=$2 images=$batch
  [ "$1" = strong ] || images=$((batch * count / first))
  shift 3
  if grep -q '"exit_reason": *"done"' "$out/$name/summary.json" 2>/dev/null; then
    echo "$name is finished (remove $out/$name to repeat it)"
    return
  fi
  local options=(--dataset "$dataset" --run "$out/$name" --batch-size "$images" --max-steps "$steps" --epochs 1000000
                 --validation-split none --checkpoint-every 0 "$@")
  if [ -n "$local_only" ]; then
    RANKS=$count step "$name" train_job "${options[@]}"
  else
    local more
    read -ra more <<<"$sbatch_options"
    jobs+=("$(PREFLIGHT=no sbatch --parsable --job-name="scaling-$name" --nodes="$count" --output="$out/$name.out" "${more[@]}" \
                     jobs/train.sbatch "${options[@]}")")
  fi
}

mkdir -p "$out"
for repetition in $(seq "$repetitions"); do  # interleaved: a machine that drifts is no scaling
  for kind in $modes; do
    for count in $nodes; do run "$kind" "$count" "$repetition" "$@"; done
  done
done
if [ -n "$local_only" ]; then
  shopt -s nullglob
  step "report" analyse
else
  ids=$(IFS=:; echo "${jobs[*]%%;*}")
  report=$(sbatch --parsable --job-name=scaling-report --nodes=1 --ntasks=1 --output="$out/report.out" \
                  ${ids:+--dependency=afterany:$ids} jobs/scaling-study.sh --analyse --out "$out")
  echo "${#jobs[@]} jobs submitted (${ids:-none}); job ${report%%;*} makes $out/report when they have ended"
fi
