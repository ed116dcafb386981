#!/usr/bin/env bash
# Train in several processes of one machine or of many, on GPUs or CPUs.
#
#   tools/dist_train.sh CONFIG PROCESSES [OPTIONS OF train.py ...]
#
# NNODES, NODE_RANK, MASTER_ADDR and PORT say which machines there are.
set -euo pipefail
if [ "$#" -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [OPTIONS OF train.py ...]" >&2
    exit 2
fi
source "$(dirname "$0")/_launch.sh"
launch "$2" train.py "$1" --launcher pytorch "${@:3}"
