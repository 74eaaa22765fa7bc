#!/usr/bin/env bash
# across-hosts.sh HOSTS RANKS_PER_HOST COMMAND...: ranks on HOSTS hosts of hosts-up.sh, from host FIRST=1 on, by mpirun
# without Slurm or ssh. mpirun itself runs on the first of them.
#
# Both TCP components are told the network, as on a cluster with several. A host that is gone is noticed after 8 s
# instead of Linux' default of minutes (oob_tcp_keepalive).
set -euo pipefail
hosts=$1 each=$2 first=${FIRST:-1}
shift 2
list=$(seq -s , -f "host%g:$each" "$first" "$((first + hosts - 1))")
exec /run/hosts/enter "host$first" env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
  mpirun --host "$list" -n "$((hosts * each))" --map-by "ppr:$each:node" --bind-to none \
  --mca plm rsh --mca plm_rsh_agent "${RSH_AGENT:-/run/hosts/rsh}" --mca btl vader,tcp,self \
  --mca btl_tcp_if_include 10.231.77.0/24 --mca oob_tcp_if_include 10.231.77.0/24 \
  --mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 "$@"
