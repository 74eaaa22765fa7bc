#!/usr/bin/env bash
# Bus bandwidth of 64 MiB sums over 4 hosts on shaped links, against what the link carries.
#
#   bash tests/hosts/measure-ring.sh [RATE_GBIT [MTU]]      (1 Gbit/s, 1500 bytes)
#
# Of the rate, frames of MTU bytes leave (MTU - 52) / (MTU + 14) to the program (headers of TCP with timestamps, IP and
# Ethernet): 95.6 % at 1500 bytes, 99.3 % at 9000. REPETITIONS=7, SEGMENT=1M (so much is
# in flight that a busy machine does not let the link run dry; 256K is made for shared memory). Needs root; takes about a
# minute at 1 Gbit/s.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
gbit=${1:-1} mtu=${2:-1500}
if [ -z "${IN_SANDBOX:-}" ]; then exec env IN_SANDBOX=1 bash tests/sandbox.sh bash "$0" "$@"; fi
HOSTS=4 MTU=$mtu bash tests/hosts/hosts-up.sh
bash tests/hosts/cable.sh rate "${gbit}gbit"
bash tests/hosts/across-hosts.sh 4 1 "${BRIGADE:-$PWD/build/release/src/cli/brigade}" bench allreduce \
  --min-bytes 64M --max-bytes 64M --segment "${SEGMENT:-1M}" --repetitions "${REPETITIONS:-7}" --json /tmp/ring.json
/usr/bin/env python3 - "$gbit" "$mtu" <<'PYTHON'
import json, sys
gbit, mtu = map(float, sys.argv[1:])
link = gbit * 1e9 / 8
for row in json.load(open("/tmp/ring.json"))["rows"]:
    bus = row["bus_bytes_per_s"]
    print(f"{row['algorithm']:18} {bus / 1e6:7.1f} MB/s on the bus: {100 * bus / link:5.1f} % of the link's {gbit:g} Gbit/s, "
          f"{100 * bus / link * (mtu + 14) / (mtu - 52):5.1f} % of what it carries")
PYTHON
