#!/usr/bin/env bash
# Sets up what the tests need and runs every test.
#
#   bash tests/run.sh [--sanitizers | --fuzz]
#
#   --sanitizers  also the unit tests under address, undefined and thread sanitizer
#   --fuzz        also libFuzzer on every format that is read from files, 20 s each, from tests/fuzz/seeds on
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. jobs/common.sh

bash jobs/setup.sh --tests
python=$(find_python)

step "includes" "$python" cmake/check-includes.py
step "unit and rank tests" ctest --preset release --output-on-failure
step "command line, jobs and analysis" "$python" -m pytest -q -p no:cacheprovider tests/cli tests/jobs tests/analysis
step "jobs under Slurm" bash tests/sandboxed.sh slurm
step "several hosts" bash tests/sandboxed.sh hosts

fuzz() {
  local format corpus
  corpus=$(mktemp -d)
  trap 'rm -rf "$corpus"' RETURN
  for format in tests/fuzz/seeds/*/; do
    format=$(basename "$format")
    mkdir "$corpus/$format"
    local leaks=1  # HDF5 itself leaks when it refuses a file; looked for between runs and at the end
    [ "$format" != shard ] || leaks=0
    ASAN_OPTIONS=detect_leaks=$leaks "build/fuzz/tests/fuzz/fuzz_$format" -max_total_time=20 -timeout=10 -detect_leaks=$leaks -rss_limit_mb=2048 -malloc_limit_mb=1024 \
      -artifact_prefix="build/fuzz/$format-" "$corpus/$format" "tests/fuzz/seeds/$format" 2>"build/fuzz/$format.log" || {
      tail -n 40 "build/fuzz/$format.log" >&2; return 1; }
  done
}

if [ "${1:-}" = --fuzz ]; then
  bash jobs/setup.sh --fuzz
  step "fuzzers" fuzz
fi

if [ "${1:-}" = --sanitizers ]; then
  for preset in asan tsan; do
    bash jobs/setup.sh --tests --preset "$preset"
    step "unit tests ($preset)" ctest --preset "$preset" -L unit --output-on-failure
  done
fi
