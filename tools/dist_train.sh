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
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/..:${PYTHONPATH:-}" \
    exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$2" \
    "$here/train.py" "$1" --launcher pytorch "${@:3}"
