#!/usr/bin/env bash
# Sets up what the tests need and runs every test.
#
#   bash tests/run.sh [--sanitizers]     --sanitizers: also the unit tests under address, undefined and thread sanitizer
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. jobs/common.sh

bash jobs/setup.sh --tests
python=$(find_python)

step "includes" "$python" cmake/check-includes.py
step "unit and rank tests" ctest --preset release --output-on-failure
step "command line and analysis" "$python" -m pytest -q -p no:cacheprovider tests/cli tests/analysis
step "jobs under Slurm" bash tests/sandboxed.sh slurm
step "several hosts" bash tests/sandboxed.sh hosts

if [ "${1:-}" = --sanitizers ]; then
  for preset in asan tsan; do
    bash jobs/setup.sh --tests --preset "$preset"
    # Kokkos' OpenMP runtime is not instrumented, so the thread sanitizer sees single-threaded kernels only.
    step "unit tests ($preset)" ctest --preset "$preset" -L unit --output-on-failure
  done
fi
