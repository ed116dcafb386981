#!/usr/bin/env bash
# Evaluate in several processes of one machine or of many, on GPUs or CPUs.
#
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [OPTIONS OF test.py ...]
#
# NNODES, NODE_RANK, MASTER_ADDR and PORT say which machines there are.
set -euo pipefail
if [ "$#" -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT PROCESSES [OPTIONS OF test.py ...]" >&2
    exit 2
fi
source "$(dirname "$0")/_launch.sh"
launch "$3" test.py "$1" "$2" --launcher pytorch "${@:4}"
