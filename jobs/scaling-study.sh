#!/usr/bin/env bash
# A scaling study: the same training on 1, 2, 4 ... nodes by one or several strategies, several times each, and a report of
# what limits each of them and of what more such nodes would do.
#
#   bash jobs/scaling-study.sh --dataset DIR [--nodes "1 2 4"] [--mode strong|weak|both] [--batch-size N]
#                              [--strategies LIST] [--servers K] [--repetitions R] [--steps S] [--out DIR] [--local]
#                              [-- TRAIN OPTIONS...]
#
#   --nodes LIST       nodes that train; with --local ranks on this machine                           ("1 2 4")
#   --mode MODE        strong: the global batch stays the same; weak: that of a node does              (both)
#   --batch-size N     global images a step: strong at every node count, weak at the first one         (256)
#   --strategies LIST  of multi-worker, local-sgd, parameter-server, parameter-server-async, or of how multi-worker sums:
#                      ring, halving-doubling, hierarchical, mpi; each is a series of its own        (multi-worker)
#   --servers K        nodes (--local: ranks) for parameter servers, beside those that train              (1)
#   --repetitions R    of each, for the error bars; they are interleaved                                (3)
#   --steps S          optimizer steps of each run; the first tenth is left out as warm-up              (100)
#   --out DIR          runs go to DIR/ring-strong-2-1 (strategy, mode, nodes, repetition), the report to
#                      DIR/report                                                             (runs/scaling)
#   --local            by mpirun on this machine, one after another, instead of sbatch. Every rank of every run has as many
#                      threads as the run with most ranks leaves to each; to extend a study later, fix them: -- --threads T
#   --sbatch OPTIONS   handed to sbatch, e.g. "--account=physics --partition=standard --ntasks-per-node=4 --time=00:20:00"
#
# Under Slurm every run is a job of its own (jobs/train.sbatch, where directives and GPUs are explained), and one more job
# with --dependency=afterany makes the report when all have ended; it is submitted with the same options of sbatch, but
# takes a quarter of an hour of one processor. After `--` come options of `brigade train`, the same for all runs:
# bash jobs/scaling-study.sh --dataset datasets/fashion-mnist -- --network fashion-cnn --allreduce ring
# The runs neither validate nor write checkpoints but the last, so that nothing but training steps is measured. A run
# that is finished already is left as it is. Costs and efficiencies count the nodes of servers, too.
set -euo pipefail
cd "${BRIGADE_ROOT:-${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}}"
[ -e jobs/common.sh ] || { echo "start from the repository's root, or set BRIGADE_ROOT" >&2; exit 2; }
. jobs/common.sh

nodes="1 2 4" mode=both batch=256 strategies=multi-worker servers=1 repetitions=3 steps=100 out=runs/scaling dataset=""
local_only="" sbatch_options="" analyse_only=""
fail() { echo "scaling-study: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --local) local_only=1; shift; continue ;;
    --analyse) analyse_only=1; shift; continue ;;  # what the dependent job does
    --) shift; break ;;
    --nodes | --mode | --batch-size | --strategies | --servers | --repetitions | --steps | --out | --dataset | --sbatch)
      [ $# -ge 2 ] || fail "$1 wants a value" ;;
    *) fail "unknown option $1 (options of brigade train come after --)" ;;
  esac
  case $1 in
    --nodes) nodes=$2 ;;
    --mode) mode=$2 ;;
    --batch-size) batch=$2 ;;
    --strategies) strategies=$2 ;;
    --servers) servers=$2 ;;
    --repetitions) repetitions=$2 ;;
    --steps) steps=$2 ;;
    --out) out=$2 ;;
    --dataset) dataset=$2 ;;
    --sbatch) sbatch_options=$2 ;;
  esac
  shift 2
done

analyse() { analysis/brigade-analysis scaling --output "$out/report" "$out"/*-{strong,weak}-*/; }

[ -z "$analyse_only" ] || { shopt -s nullglob; analyse; exit; }
[ -n "$dataset" ] || fail "--dataset is missing"
for number in $nodes $batch $servers $repetitions $steps; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || fail "'$number' is no positive number"
done
case $mode in
  both) modes="strong weak" ;;
  strong | weak) modes=$mode ;;
  *) fail "--mode $mode is none of strong, weak, both" ;;
esac
read -r first _ <<<"$nodes"
find_python >/dev/null  # what the report needs is missed now, not after all runs

# options_of STRATEGY: leaves in `chosen` the options of brigade train, and in `extra` the nodes (or ranks) that do not train.
options_of() {
  local served=(--strategy parameter-server --servers "$((servers * ranks_per_node))")
  extra=0
  case $1 in
    multi-worker | local-sgd) chosen=(--strategy "$1") ;;
    ring | halving-doubling | hierarchical | mpi) chosen=(--strategy multi-worker --allreduce "$1") ;;
    parameter-server) extra=$servers chosen=("${served[@]}") ;;
    parameter-server-async) extra=$servers chosen=("${served[@]}" --async) ;;
    *) fail "'$1' is none of multi-worker, local-sgd, parameter-server, parameter-server-async, ring, halving-doubling," \
            "hierarchical, mpi" ;;
  esac
}

# All of a node's ranks serve or none: how many these are, from --sbatch or the directives of jobs/train.sbatch.
ranks_per_node=1
if [ -z "$local_only" ] && [[ "$sbatch_options $(grep '^#SBATCH' jobs/train.sbatch)" =~ --ntasks-per-node[=\ ]([0-9]+) ]]; then
  ranks_per_node=${BASH_REMATCH[1]}
fi
chosen=() extra=0 most=0
for strategy in $strategies; do  # wrong ones are said before anything runs
  options_of "$strategy"
  for count in $nodes; do [ $((count + extra)) -le "$most" ] || most=$((count + extra)); done
done
[ "$most" -gt 0 ] || fail "--nodes and --strategies want one at least"

# Runs whose ranks have other numbers of threads are no series, so none may take what fewer ranks leave.
threads=()
if [ -n "$local_only" ] && ! [[ " $* " =~ \ --threads[=\ ] ]]; then
  each=$(($(count_processors) / most))
  threads=(--threads "$((each > 0 ? each : 1))")
fi

# run STRATEGY MODE NODES REPETITION TRAIN OPTIONS...: starts one run, or submits it and adds its number to `jobs`.
read -ra sbatch_more <<<"$sbatch_options"
jobs=()
run() {
  local name=$1-$2-$3-$4 count=$3 repetition=$4 images=$batch
  [ "$2" = strong ] || images=$((batch * count / first))
  options_of "$1"
  shift 4
  if grep -q '"exit_reason": *"done"' "$out/$name/summary.json" 2>/dev/null; then
    echo "$name is finished (remove $out/$name to repeat it)"
    return
  fi
  local options=(--dataset "$dataset" --run "$out/$name" --batch-size "$images" --max-steps "$steps" --epochs 1000000
                 --validation-split none --checkpoint-every 0 "${chosen[@]}" "${threads[@]}" "$@")
  if [ -n "$local_only" ]; then
    RANKS=$((count + extra)) step "$name" train_job "${options[@]}"
  else
    # The latency between nodes, which the prediction wants, is measured once.
    jobs+=("$(PREFLIGHT=$([ "$repetition" = 1 ] && echo yes || echo no) sbatch --parsable --job-name="scaling-$name" --nodes="$((count + extra))" --output="$out/$name.out" \
                     "${sbatch_more[@]}" jobs/train.sbatch "${options[@]}")")
  fi
}

mkdir -p "$out"
for repetition in $(seq "$repetitions"); do  # interleaved: a machine that drifts is no scaling
  for kind in $modes; do
    for count in $nodes; do
      for strategy in $strategies; do run "$strategy" "$kind" "$count" "$repetition" "$@"; done
    done
  done
done
if [ -n "$local_only" ]; then
  shopt -s nullglob
  step "report" analyse
else
  ids=$(IFS=:; echo "${jobs[*]%%;*}")
  # Account, partition, quality of service and what else the site wants are those of the runs; the later options win.
  report=$(sbatch --parsable "${sbatch_more[@]}" --job-name=scaling-report --nodes=1 --ntasks=1 --ntasks-per-node=1 \
                  --cpus-per-task=1 --time=00:15:00 --output="$out/report.out" \
                  ${ids:+--dependency=afterany:$ids} jobs/scaling-study.sh --analyse --out "$out")
  echo "${#jobs[@]} jobs submitted (${ids:-none}); job ${report%%;*} makes $out/report when they have ended"
fi
