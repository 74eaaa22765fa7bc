#!/usr/bin/env bash
# A scaling study on 1, 2 and 4 hosts with shaped links, its report, and what the model of 1 and 2 hosts says of 4. Four hosts are
# always busy: with one job of four, two of two or four of one at the same time.
#
#   bash tests/hosts/measure-scaling.sh [OUT [RATE_MBIT [STEPS [REPETITIONS]]]]     (runs/hosts 1000 24 4)
#
# RANKS=1 a host, IMAGES="16 64" a host, ALLREDUCE=auto, BUCKET=256K and NETWORK=fashion-cnn may be set in the environment, and
# CPU=0.3 of a processor for each host with PERIOD_US=3400 (hosts-up.sh): so computation does not depend on how many hosts there are.
# On a cluster no such thing is needed. Needs root; takes about three minutes. OUT is within the repository, or at least not below
# /tmp: the hosts have one of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/common.sh
out=${1:-runs/hosts} mbit=${2:-1000} steps=${3:-24} repetitions=${4:-4}
if [ -z "${IN_SANDBOX:-}" ]; then
  case $(realpath -m "$out") in
    "$PWD"/*) ;;
    /tmp/*) echo "measure-scaling: $out is below /tmp, of which the hosts have one of their own" >&2; exit 2 ;;
  esac
  IN_SANDBOX=1 bash tests/sandbox.sh bash "$0" "$@"
  gbps=$(awk "BEGIN { print $mbit / 1000 }")
  analysis/brigade-analysis scaling --output "$out/report" --link-gbps "$gbps" "$out"/*-*-*/
  analysis/brigade-analysis predict --fit-nodes 1,2 --fit-link-gbps "$gbps" --nodes 1,2,4 "$out"/*-*-*/
  exit
fi
brigade=$(brigade_binary)
mkdir -p "$out"
python=$(find_python)
"$python" -c 'import pathlib, sys; sys.path.insert(0, "tests"); import blocks; blocks.write_blocks(pathlib.Path("/tmp"))'
"$brigade" shard --source /tmp --output /tmp/dataset
HOSTS=4 CPU=${CPU:-0.3} PERIOD_US=${PERIOD_US:-3400} bash tests/hosts/hosts-up.sh
bash tests/hosts/cable.sh rate "${mbit}mbit"

# train HOSTS IMAGES FIRST RUN: on the hosts from FIRST on.
train() {
  [ -e "$4/summary.json" ] || FIRST=$3 bash tests/hosts/across-hosts.sh "$1" "${RANKS:-1}" "$brigade" train --dataset /tmp/dataset \
    --run "$4" --network "${NETWORK:-fashion-cnn}" --threads 1 --allreduce "${ALLREDUCE:-auto}" --bucket "${BUCKET:-256K}" --segment 64K \
    --batch-size "$(($1 * $2))" --max-steps "$steps" --epochs 1000000 --validation-split none --checkpoint-every 0 --preflight
}

# As many jobs at once as fill the hosts, each a repetition: whoever trains has the same neighbours on its processor, at any
# number of hosts. Alone, two hosts would have a processor each, and four not.
for repetition in $(seq "$repetitions"); do
  for hosts in 1 2 4; do
    for each in ${IMAGES:-16 64}; do  # weak at either, strong where they meet: 1 x 64 = 4 x 16
      jobs=()
      for first in $(seq 1 "$hosts" 4); do
        train "$hosts" "$each" "$first" "$out/$hosts-$((hosts * each))-$repetition$first" &
        jobs+=($!)
      done
      for job in "${jobs[@]}"; do wait "$job"; done
    done
  done
done
