#!/usr/bin/env bash
# How much of the communication of a step is not hidden behind backward: 2 hosts on shaped links, one rank each.
#
#   bash tests/hosts/measure-exposed.sh [RATE_GBIT [STEPS [TRAIN OPTIONS...]]]      (10 60)
#
# NETWORK=tiny-model2, BATCH=128 (global), ROUNDS=3, BUCKETS="eighth 256K 1M 4M". For each of several --bucket sizes, in alternation: the share of the bytes that left after
# backward had ended, and the time that the ranks waited for each other's bytes (not for each other: each step, the least of the
# ranks' waits) beside the time of the same sum alone (bench allreduce). Needs root; takes about two minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/common.sh
gbit=${1:-10} steps=${2:-60}
if [ -z "${IN_SANDBOX:-}" ]; then exec env IN_SANDBOX=1 bash tests/sandbox.sh bash "$0" "$@"; fi
shift $(($# < 2 ? $# : 2))
brigade=$(brigade_binary)
python=$(find_python)
batch=${BATCH:-128}
mkdir /tmp/exposed
"$python" - <<'PYTHON'
import pathlib
import numpy
import PIL.Image
generator = numpy.random.default_rng(1)
for i in range(512):
    folder = pathlib.Path(f"/tmp/exposed/images/{i % 8}")
    folder.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(generator.integers(0, 256, (64, 64, 3), dtype=numpy.uint8)).save(folder / f"{i}.png")
PYTHON
"$brigade" shard --source /tmp/exposed/images --output /tmp/exposed/dataset >/dev/null
HOSTS=2 bash tests/hosts/hosts-up.sh
bash tests/hosts/cable.sh rate "${gbit}gbit"
across() { bash tests/hosts/across-hosts.sh 2 1 "$brigade" "$@"; }
for round in $(seq "${ROUNDS:-3}"); do
  for bucket in ${BUCKETS:-eighth 256K 1M 4M}; do
    across train --dataset /tmp/exposed/dataset --run "/tmp/exposed/$bucket-$round" --network "${NETWORK:-tiny-model2}" --threads 1 \
      --batch-size "$batch" --bucket "$bucket" --max-steps "$steps" --epochs 1000000 --validation-split none --checkpoint-every 0 \
      "$@" >/dev/null 2>&1
  done
done
across bench allreduce --min-bytes 4M --max-bytes 4M --repetitions 15 --json /tmp/exposed/alone.json >/dev/null 2>&1
"$python" - "$gbit" <<'PYTHON'
import glob, json, statistics, sys
import pandas
alone = next(row for row in json.load(open("/tmp/exposed/alone.json"))["rows"] if row["algorithm"] == "auto")
print(f"links of {sys.argv[1]} Gbit/s; medians over steps and runs")
print("bucket   step ms  backward ms  sums alone ms  exposed ms  exposed time  exposed bytes")
by_bucket = {}
for path in sorted(glob.glob("/tmp/exposed/*-[0-9]")):
    by_bucket.setdefault(path.rpartition("/")[2].partition("-")[0], []).append(path)
for bucket, runs in by_bucket.items():
    logs = [[pandas.read_csv(f"{run}/steps-{rank:05}.csv").iloc[10:].reset_index() for rank in range(2)] for run in runs]
    median = lambda of: statistics.median(of(pair) for pair in logs)
    wait = median(lambda pair: pandas.concat([log.reduce_wait_s for log in pair], axis=1).min(axis=1).median())
    sent, hidden = (median(lambda pair: sum(log[column].median() for log in pair)) for column in ("sent_bytes", "hidden_bytes"))
    sums = alone["seconds"]["median"] * sent / 2 / alone["bytes"]
    print(f"{bucket:6} {1e3 * median(lambda p: p[0].step_s.median()):9.1f} {1e3 * median(lambda p: p[0].backward_s.median()):12.1f} "
          f"{1e3 * sums:14.2f} {1e3 * wait:11.2f} {wait / sums:12.1%} {1 - hidden / sent:14.1%}")
PYTHON
