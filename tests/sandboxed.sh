#!/usr/bin/env bash
# Runs tests that need a machine of their own in sandbox.sh: a real Slurm, or several network hosts, which end with it.
#
#   bash tests/sandboxed.sh slurm|hosts [PYTEST OPTIONS...]
#
# Needs root, namespaces and what jobs/setup.sh --tests installs; says so and succeeds where not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin  # where daemons and ip are, which not every shell looks through
. jobs/common.sh

kind=${1:?slurm or hosts}
shift
case $kind in
  slurm) programs=(munged slurmctld slurmd sbatch) ;;
  hosts) programs=(mpirun tc ip) ;;
  *) echo "sandboxed: there is no '$kind' (known: slurm, hosts)" >&2; exit 2 ;;
esac
skip() { echo "skipped: $1"; exit 0; }
for program in "${programs[@]}"; do
  command -v "$program" >/dev/null || skip "there is no program $program"
done
reason=$(bash tests/sandbox.sh --check) || skip "$reason"
python=$(find_python)
exec timeout -s KILL 300 bash tests/sandbox.sh "$python" -m pytest -q -p no:cacheprovider "tests/$kind" "$@"
