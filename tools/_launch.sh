# Start a tool in several processes, for the scripts that source this file.
#
#   launch PROCESSES TOOL [ARGUMENTS OF TOOL ...]
#
# NNODES, NODE_RANK, MASTER_ADDR and PORT say which machines there are.
launch() {
    local tools
    tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    PYTHONPATH="$tools/..:${PYTHONPATH:-}" \
        exec python -m torch.distributed.run \
        --nnodes="${NNODES:-1}" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="${PORT:-29500}" \
        --nproc_per_node="$1" \
        "$tools/$2" "${@:3}"
}
