#!/usr/bin/env bash
# sandbox.sh COMMAND...: runs it so that all it starts goes away with it, however it ends.
#
# The command gets process, mount, network and IPC namespaces of its own: daemons, network hosts and mounts made inside
# are invisible outside, and the kernel ends them when the command ends, also when this script is killed. Several can
# run at once with the same names, addresses and ports. Files are the machine's own, but for an empty /run, /tmp,
# /var/tmp and /dev/shm (in which the working directory still is, if it lies there). With `timeout` use -s KILL, for unshare ignores SIGTERM while the command runs.
#
#   sandbox.sh --check      says why it cannot be done here, and returns 1
set -euo pipefail
if [ "${1:-}" = --check ]; then
  [ "$(id -u)" = 0 ] || { echo "not root"; exit 1; }
  for program in unshare nsenter ip; do
    command -v "$program" >/dev/null || { echo "there is no program $program"; exit 1; }
  done
  reason=$("$0" ip link add probe type bridge 2>&1) || { echo "no namespaces (${reason:0:80})"; exit 1; }
  exit 0
fi
# net0: with nothing but lo, Slurm resolves no name (AI_ADDRCONFIG), and Open MPI finds no interface.
# shellcheck disable=SC2016  # expanded inside
exec unshare --mount --propagation private --net --ipc --pid --fork --kill-child --mount-proc -- /bin/bash -ec '
  cd "$1"
  for directory in /run /tmp /var/tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs $directory; done
  ip link set lo up
  ip link add net0 type veth peer name net0x
  ip addr add 10.231.76.1/24 dev net0
  ip link set net0 up
  ip link set net0x up
  [ -d "$1" ] || { mkdir -p "$1"; mount --no-canonicalize --bind . "$1"; }  # it lies below one of them
  cd "$1"; shift; set +e; "$@"; exit $?' sandbox "$PWD" "$@"
