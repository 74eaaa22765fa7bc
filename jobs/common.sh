# Shared by the scripts of jobs/ and tests/: sourced, not run.

# step TITLE COMMAND...: says what is done, does it, and says how long it took.
step() {
  local title=$1 start=$EPOCHREALTIME
  shift
  printf '== %s\n' "$title"
  "$@"
  printf '   %s: %.1f s\n' "$title" "$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
}

# run_ranks N COMMAND...: the command on N ranks; by srun inside a Slurm allocation, else by mpirun.
run_ranks() {
  local ranks=$1
  shift
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    # PMIx's default fence in Slurm 22.05 is no barrier, and some multi-node starts crash; the ring is one.
    SLURM_PMIX_FENCE=ring srun --mpi=pmix --ntasks="$ranks" "$@"
  else
    local options=()
    [ "$(nproc)" -ge "$ranks" ] || options+=(--oversubscribe --bind-to none)
    if [ "$(id -u)" = 0 ]; then  # a container, most likely
      export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    mpirun "${options[@]}" -n "$ranks" "$@"
  fi
}

# A Python that has what analysis/ needs; Debian's own comes first, since another may lead the PATH.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" /usr/bin/python3 python3; do
    [ -n "$candidate" ] || continue
    "$candidate" -c 'import numpy, pandas, matplotlib' 2>/dev/null && { echo "$candidate"; return 0; }
  done
  echo "no python3 with numpy, pandas and matplotlib was found. Install python3-pandas and python3-matplotlib, or set PYTHON?" >&2
  return 1
}
