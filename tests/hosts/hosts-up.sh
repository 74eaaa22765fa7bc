#!/usr/bin/env bash
# hosts-up.sh: makes HOSTS network hosts on this machine, inside sandbox.sh, which also ends them. Each has its own
# network, host name, /dev/shm and TMPDIR; veth cables join them to one bridge, the switch.
#
#   HOSTS=4                     host1..hostN at 10.231.77.<10+i> on eth0
#   MTU=1500                    of the cables
#   CPU=0.3                     of one processor, each host may use no more (cgroup v1), and no other one: as many as fit into the
#                               machine's compute as quickly as one does; not set: all there is
#   AHEAD="host2:100"           hosts whose monotonic clock is so many seconds ahead (time namespaces, Linux 5.6); not set: none
#   /run/hosts/enter HOST CMD   runs a command on that host (same files; same directory if it exists there)
#   /run/hosts/rsh HOST CMD     the same as ssh would do it, for mpirun --mca plm_rsh_agent
#
# Cables are acted on by cable.sh; across-hosts.sh starts ranks.
set -euo pipefail
hosts=${HOSTS:-4} mtu=${MTU:-1500} cpu=${CPU:-} subnet=10.231.77 run=/run/hosts
mkdir -p "$run"
mount -t tmpfs -o mode=755,size=50% tmpfs "$run"  # holds the hosts' /dev/shm and /tmp
mount --make-private "$run"
{
  echo "127.0.0.1 localhost"
  for i in $(seq "$hosts"); do echo "$subnet.$((10 + i)) host$i"; done
} >"$run/table"

# One mount namespace a command, not one kept a host: a kept one could not be entered from a host made before it, and
# mpirun goes from host to host.
cat >"$run/enter" <<'SCRIPT'
#!/bin/sh
host=$1; shift
if [ -e /run/hosts/$host/cpu/cgroup.procs ]; then
  echo $$ >/run/hosts/$host/cpu/cgroup.procs
  taskset --pid --cpu-list "$(cat /run/hosts/$host/processor)" $$ >/dev/null
fi
clock=
[ ! -e /run/hosts/$host/time ] || clock=--time=/run/hosts/$host/time
exec nsenter $clock --net=/run/netns/$host --uts=/run/hosts/$host/uts -- unshare --mount --propagation private -- /bin/sh -c '
  mount --bind /run/hosts/table /etc/hosts && mount --bind /run/hosts/$1/shm /dev/shm && mount -t sysfs sysfs /sys || exit 125
  if [ -e /run/hosts/$1/cpu ]; then  # as a container sees its limit
    mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/cpu && mount --bind /run/hosts/$1/cpu /sys/fs/cgroup/cpu || exit 125
  fi
  export TMPDIR=/run/hosts/$1/tmp
  cd "$2" 2>/dev/null || cd /
  shift 2; exec "$@"' enter "$host" "$PWD" "$@"
SCRIPT
cat >"$run/rsh" <<'SCRIPT'
#!/bin/sh
host=$1; shift
exec /run/hosts/enter "$host" /bin/sh -c "$*"
SCRIPT
chmod +x "$run/enter" "$run/rsh"

# A host's processes in short turns, for a step is to see the mean: PERIOD_US is one of them. The groups outlive the sandbox, empty;
# the next call removes them.
limit_cpu() {
  local group=/sys/fs/cgroup/cpu/brigade-$1
  [ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us ] || { echo "hosts-up: CPU=$cpu needs the cpu controller of cgroup v1 at /sys/fs/cgroup/cpu" >&2; exit 2; }
  rmdir "$group" 2>/dev/null || true
  mkdir -p "$group" "$run/$1/cpu"
  local period=${PERIOD_US:-5000}
  echo "$period" >"$group/cpu.cfs_period_us"
  awk "BEGIN { printf \"%d\", $cpu * $period }" >"$group/cpu.cfs_quota_us"
  mount --bind "$group" "$run/$1/cpu"  # where the hosts see it, whose /sys is their own
  # On one processor: what a group may still use in a turn is kept for each processor, and lost for a while to a process that moves.
  echo $(((${1#host} - 1) % $(nproc))) >"$run/$1/processor"
}

ip netns add switch
ip -n switch link set lo up
ip -n switch link add br0 mtu "$mtu" type bridge
ip -n switch link set br0 up
for i in $(seq "$hosts"); do
  host=host$i
  ip netns add "$host"
  ip -n "$host" link add eth0 mtu "$mtu" type veth peer name "port$i" mtu "$mtu" netns switch
  ip -n switch link set "port$i" master br0 up
  ip -n "$host" link set lo up
  ip -n "$host" addr add "$subnet.$((10 + i))/24" dev eth0
  ip -n "$host" link set eth0 up
  mkdir -p "$run/$host"
  mkdir -m 1777 "$run/$host/shm" "$run/$host/tmp"
  [ -z "$cpu" ] || limit_cpu "$host"
  touch "$run/$host/uts"
  unshare --uts="$run/$host/uts" hostname "$host"  # the file keeps the name alive: no process has to stay
done
for clock in ${AHEAD:-}; do  # the file keeps it alive
  touch "$run/${clock%%:*}/time"
  unshare --time="$run/${clock%%:*}/time" --monotonic "${clock#*:}" true
done
echo "$hosts" >"$run/count"
