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
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/..:${PYTHONPATH:-}" \
    exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$3" \
    "$here/test.py" "$1" "$2" --launcher pytorch "${@:4}"
