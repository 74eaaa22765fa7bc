#!/usr/bin/env bash
# From which size on the ring between hosts is quicker than halving and doubling, on several numbers of hosts with shaped links.
#
#   bash tests/hosts/measure-allreduce-table.sh [RATE_GBIT [HOSTS...]]      (1 2 3 4)
#
# Prints the median times of both, and the table that `brigade bench allreduce --table` makes of them, beside the sizes that
# are shipped. More hosts than processors take turns, which makes every message wait: what counts is then the number of
# messages, as over a slow network. REPETITIONS=15, MAX=16M (bytes of the largest sum). Needs root; takes a few minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
gbit=${1:-1}
if [ -z "${IN_SANDBOX:-}" ]; then exec env IN_SANDBOX=1 bash tests/sandbox.sh bash "$0" "$@"; fi
shift $(($# < 1 ? $# : 1))
counts=("$@")
[ $# -gt 0 ] || counts=(2 3 4)
HOSTS=$(printf '%s\n' "${counts[@]}" | sort -n | tail -1) bash tests/hosts/hosts-up.sh
bash tests/hosts/cable.sh rate "${gbit}gbit"
for count in "${counts[@]}"; do
  bash tests/hosts/across-hosts.sh "$count" 1 "${BRIGADE:-$PWD/build/release/src/cli/brigade}" bench allreduce \
    --max-bytes "${MAX:-16M}" --repetitions "${REPETITIONS:-15}" --table /tmp/table.json --json "/tmp/$count.json" >"/tmp/$count.txt"
done
/usr/bin/env python3 - "$gbit" "${counts[@]}" <<'PYTHON'
import json, re, sys
gbit, counts = sys.argv[1], map(int, sys.argv[2:])
measured = {row["nodes"]: row["halving_doubling_up_to_bytes"] for row in json.load(open("/tmp/table.json"))["nodes"]}
print(f"links of {gbit} Gbit/s; median us of halving-doubling / ring")
for count in counts:
    rows = json.load(open(f"/tmp/{count}.json"))["rows"]
    us = {(row["algorithm"], row["bytes"]): 1e6 * row["seconds"]["median"] for row in rows}
    sizes = sorted({row["bytes"] for row in rows})
    print(f"{count} hosts  " + "  ".join(f"{size >> 10} KiB: {us['halving-doubling', size]:.0f} / {us['ring', size]:.0f}" for size in sizes))
    shipped = re.search(r"halving-doubling up to (\d+) KiB", open(f"/tmp/{count}.txt").read()).group(1)
    print(f"         measured: halving-doubling up to {measured[count] >> 10} KiB; shipped: {shipped} KiB")
PYTHON
