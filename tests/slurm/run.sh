#!/usr/bin/env bash
# Submits the scripts of jobs/ to a real Slurm of four nodes on this machine, started for the purpose and ended with it.
#
#   bash tests/slurm/run.sh [PYTEST OPTIONS...]
#
# Needs root and namespaces, slurm-wlm and munge (jobs/setup.sh --tests installs them); says so and succeeds where not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/common.sh

skip() { echo "skipped: $1"; exit 0; }
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null || skip "there is no program $program"
done
reason=$(bash tests/slurm/sandbox.sh --check) || skip "$reason"
python=$(find_python)
exec timeout -s KILL 300 bash tests/slurm/sandbox.sh "$python" -m pytest -q -p no:cacheprovider tests/slurm "$@"
