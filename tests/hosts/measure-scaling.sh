#!/usr/bin/env bash
# A scaling study on 1, 2 and 4 hosts with shaped links, its report, and what the model of 1 and 2 hosts says of 4.
#
#   bash tests/hosts/measure-scaling.sh [OUT [RATE_MBIT [STEPS [REPETITIONS]]]]     (runs/hosts 200 60 3)
#
# RANKS=1 a host, IMAGES="4 16" a host, ALLREDUCE=ring, BUCKET=256K and NETWORK=fashion-cnn may be set in the environment. Four hosts
# share this machine's processors, and so compute slower than one does, unless CPU=0.3 gives each that much of a processor
# (hosts-up.sh); a slow link, too, keeps that small in the step. On a cluster no such thing is needed. Needs root; takes about two
# minutes. OUT is within the repository, or at least not below /tmp: the hosts have one of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/common.sh
out=${1:-runs/hosts} mbit=${2:-200} steps=${3:-60} repetitions=${4:-3}
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
HOSTS=4 bash tests/hosts/hosts-up.sh
bash tests/hosts/cable.sh rate "${mbit}mbit"
for repetition in $(seq "$repetitions"); do
  for hosts in 1 2 4; do
    for each in ${IMAGES:-4 16}; do  # weak at either, strong where they meet: 1 x 16 = 4 x 4
      run=$out/$hosts-$((hosts * each))-$repetition
      [ -e "$run/summary.json" ] || bash tests/hosts/across-hosts.sh "$hosts" "${RANKS:-1}" "$brigade" train --dataset /tmp/dataset \
        --run "$run" --network "${NETWORK:-fashion-cnn}" --threads 1 --allreduce "${ALLREDUCE:-ring}" --bucket "${BUCKET:-256K}" \
        --segment 64K --batch-size "$((hosts * each))" --max-steps "$steps" --epochs 1000000 --validation-split none \
        --checkpoint-every 0 --preflight
    done
  done
done
