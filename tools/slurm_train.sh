#!/usr/bin/env bash
# Train on a cluster that Slurm runs.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [OPTIONS ...]
#
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS say what to ask
# for.
set -euo pipefail
if [ "$#" -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [OPTIONS ...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
per_node=${GPUS_PER_NODE:-8}
# shellcheck disable=SC2086 # SRUN_ARGS holds several.
PYTHONPATH="$here/..:${PYTHONPATH:-}" \
    exec srun --partition="$1" --job-name="$2" \
    --gres="gpu:$per_node" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u "$here/train.py" "$3" --work-dir "$4" --launcher slurm "${@:5}"
