#!/usr/bin/env bash
# slurm-up.sh DIR: starts a private, real Slurm (munged, slurmctld, NODES slurmds) on this machine, inside sandbox.sh,
# which also ends it. Then: export SLURM_CONF=DIR/slurm.conf; sbatch ...
#
#   NODES=4  CPUS=2     nodes n1..nN, of so many processors each, whatever the machine has
#
# All nodes share the machine's network (127.0.0.1, a port each), but each has its own host name and /dev/shm: without
# these, Open MPI's shared-memory files of two nodes would collide. Nothing below /etc is read or written, and systemd
# and cgroups are not needed. Debian: slurm-wlm, munge; libopenmpi-dev brings PMIx.
set -euo pipefail
dir=${1:?} nodes=${NODES:-4} cpus=${CPUS:-2} port=17000
export SLURM_CONF=$dir/slurm.conf
mkdir -p "$dir"/{state,spool,log,run,tmp}
chmod 755 "$dir"
fail() {
  echo "slurm-up: $1" >&2
  tail -n 5 "$dir"/log/*.log >&2
  exit 1
}

# munged insists that the key is readable by its owner only.
(umask 077 && head -c 128 /dev/urandom >"$dir/run/munge.key")
munged --socket="$dir/run/munge.sock" --key-file="$dir/run/munge.key" --pid-file="$dir/munged.pid" \
       --log-file="$dir/log/munged.log" --seed-file="$dir/run/munge.seed" --num-threads=4

host=$(hostname -s)
cat >"$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SrunPortRange=$((port + 100))-$((port + 399))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.sock
CredType=cred/munge
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/log/slurmctld.log
StateSaveLocation=$dir/state
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmdLogFile=$dir/log/slurmd.%n.log
SlurmdSpoolDir=$dir/spool/%n
# where the pmix plugin puts its directory of a step; nodes that share a /tmp need different ones
TmpFS=$dir/tmp/%n
PlugStackConfig=/dev/null
# more processors than the machine has; no cgroups, no binding
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
MinJobAge=3600
CONF
for i in $(seq "$nodes"); do
  echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=$cpus Boards=1 SocketsPerBoard=1" \
       "CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=2000"
done >>"$dir/slurm.conf"
echo "PartitionName=main Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP" >>"$dir/slurm.conf"
# slurmd looks for a cgroup file system even when no plugin uses it; this kind does not look.
echo "CgroupPlugin=cgroup/v1" >"$dir/cgroup.conf"

slurmctld -c -f "$dir/slurm.conf" || fail "slurmctld does not start"
for i in $(seq "$nodes"); do
  mkdir -p "$dir/spool/n$i"
  mkdir -m 1777 "$dir/tmp/n$i"
  unshare --uts --mount --propagation private sh -ec "hostname n$i
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    exec slurmd -c -N n$i -f $dir/slurm.conf" || fail "slurmd n$i does not start"
done
for _ in $(seq 300); do
  [ "$(sinfo -h -N -o %T 2>/dev/null | grep -cx idle)" = "$nodes" ] && exit 0
  sleep 0.1
done
fail "the nodes are not idle after 30 s"
