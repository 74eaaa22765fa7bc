# Shared by the scripts of jobs/ and tests/: sourced, not run.

# step TITLE COMMAND...: says what is done, does it, and says how long it took.
step() {
  local title=$1 start=$EPOCHREALTIME
  shift
  printf '== %s\n' "$title"
  "$@"
  printf '   %s: %.1f s\n' "$title" "$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
}

# How many processors (hardware threads) this shell may use; nproc by itself would heed OpenMP's variables.
count_processors() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# choose_launcher N: leaves in `launcher` the command that starts N ranks (`all`: as many as Slurm granted): srun inside
# a Slurm allocation, else mpirun. In the environment: LAUNCHER=mpirun takes mpirun inside an allocation, too;
# MPIRUN_OPTIONS and SRUN_OPTIONS are handed on (words separated by blanks) and go last, so that they win.
choose_launcher() {
  local ranks=$1 more
  if [ -n "${SLURM_JOB_ID:-}" ] && [ "${LAUNCHER:-srun}" = srun ]; then
    # srun inherits the number of ranks from the job, but since Slurm 22.05 not the processors of each.
    [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    # PMIx's default fence in Slurm 22.05 is no barrier, and some multi-node starts crash; the ring is one.
    export SLURM_PMIX_FENCE=ring
    read -ra more <<<"${SRUN_OPTIONS:-}"
    launcher=(srun --mpi=pmix --kill-on-bad-exit=1)
    [ "$ranks" = all ] || launcher+=(--ntasks="$ranks")
  else
    read -ra more <<<"${MPIRUN_OPTIONS:-}"
    launcher=(mpirun)
    # Open MPI notices a host that is gone after 8 s instead of Linux' default of minutes.
    export OMPI_MCA_oob_tcp_keepalive_time=5 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=3
    [ "$ranks" = all ] || launcher+=(-n "$ranks")
    bind_ranks "$ranks"
    if [ "$(id -u)" = 0 ]; then  # a container, most likely
      export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
  fi
  launcher+=("${more[@]}")
}

# bind_ranks N: adds to `launcher` mpirun's options that give each rank the processors which Slurm granted it, or outside
# Slurm its share of this machine's. By default Open MPI binds one or two ranks to a single core each.
bind_ranks() {
  local ranks=$1 here each="" as_linux_counts=""
  here=$(count_processors)
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    each=${SLURM_CPUS_PER_TASK:-}
    # Slurm's processors are hardware threads at most sites, cores at some: threads, if Linux counts as many.
    [ "$here" != "${SLURM_CPUS_ON_NODE:-}" ] || as_linux_counts=1
  elif [ "$ranks" != all ]; then
    each=$((here / ranks)) as_linux_counts=1
    [ "$each" -gt 0 ] || { launcher+=(--oversubscribe --bind-to none); return; }
  fi
  [ -n "$each" ] || return 0
  launcher+=(--map-by "slot:PE=$each")
  [ -z "$as_linux_counts" ] || launcher+=(--use-hwthread-cpus)  # PE counts cores otherwise
}

# run_ranks N COMMAND...: the command on N ranks.
run_ranks() {
  local launcher
  choose_launcher "$1"
  "${launcher[@]}" "${@:2}"
}

# Runs a command and passes USR1, TERM and INT on to it: Slurm signals the shell of a job only (--signal=B:USR1@120),
# and srun and mpirun hand a signal to all ranks. Returns the command's exit code.
forward_signals() {
  local child signal signalled code=0 again
  "$@" &
  child=$!
  for signal in USR1 TERM INT; do
    # shellcheck disable=SC2064  # the id of this child
    trap "signalled=1; kill -s $signal $child 2>/dev/null || true" "$signal"
  done
  while signalled="" again=0; do  # a signal ends the wait, not the child
    wait "$child" || again=$?
    [ "$again" = 127 ] || code=$again  # 127: it had ended before
    [ -n "$signalled" ] && [ "$again" -gt 128 ] || break
  done
  trap - USR1 TERM INT
  return "$code"
}

readonly STOPPED_EARLY=75  # Brigade's exit code after a checkpoint: submit again

# The option that names slow ranks and links before hours are spent, unless PREFLIGHT=no.
preflight() { [ "${PREFLIGHT:-yes}" != yes ] || echo --preflight; }

# train_job OPTIONS...: `brigade train` with these options on all ranks of the job, continued from its newest checkpoint.
# If the time limit ends it early, the job is put back into the queue, at most MAX_RESTARTS times.
train_job() {
  local code=0 launcher binary
  binary=$(brigade_binary) || return
  choose_launcher "${RANKS:-all}"
  forward_signals "${launcher[@]}" "$binary" train --resume "$@" || code=$?
  if [ "$code" = $STOPPED_EARLY ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_RESTARTS:-50}" ]; then
      echo "stopped early; not requeued again after ${SLURM_RESTART_COUNT:-0} restarts (MAX_RESTARTS)" >&2
    else
      echo "stopped early with a checkpoint: back into the queue"
      scontrol requeue "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
    fi
  fi
  return "$code"
}

# The program: BRIGADE, what a module file put on the PATH, or this repository's build.
brigade_binary() {
  local built=$PWD/build/release/src/cli/brigade
  if [ -n "${BRIGADE:-}" ]; then echo "$BRIGADE"
  elif [ -x "$built" ]; then echo "$built"
  elif command -v brigade; then :
  else
    echo "there is no program at $built, and no brigade on the PATH. Run jobs/setup.sh, or load the module?" >&2
    return 2
  fi
}

# A Python that has what analysis/ needs: PYTHON, or else Debian's own before another that may lead the PATH.
find_python() {
  local needed=(numpy pandas matplotlib scipy) candidates=(/usr/bin/python3 python3) candidate missing tried=""
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    if ! missing=$("$candidate" -c 'import importlib.util, sys
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))' "${needed[@]}" 2>/dev/null); then
      tried+="; $candidate does not run"
    elif [ -n "$missing" ]; then
      tried+="; $candidate has no ${missing// /, }"
    else
      echo "$candidate"
      return
    fi
  done
  echo "no Python with ${needed[*]} was found (${tried#; }). Install Debian's ${needed[*]/#/python3-} (jobs/setup.sh does)," \
       "or set PYTHON to one that has them?" >&2
  return 2
}
