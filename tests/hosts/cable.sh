#!/usr/bin/env bash
# cable.sh: acts on the cables of hosts-up.sh
#
#   cable.sh rate 1gbit [HOST]   limits both directions of every cable, or of one host's
#   cable.sh cut HOST            takes its port of the switch down
set -euo pipefail
case ${1:-} in
  rate)
    for i in ${3:+"${3#host}"} $([ -n "${3:-}" ] || seq "$(cat /run/hosts/count)"); do
      # burst: holds a whole GSO packet (64 KiB) and about a millisecond of the rate; limit: the queue of a card
      tc -n "host$i" qdisc replace dev eth0 root tbf rate "$2" burst 256kb limit 4mb
      tc -n switch qdisc replace dev "port$i" root tbf rate "$2" burst 256kb limit 4mb
    done ;;
  cut) ip -n switch link set "port${2#host}" down ;;
  *) echo "usage: cable.sh rate RATE [HOST] | cut HOST" >&2; exit 2 ;;
esac
