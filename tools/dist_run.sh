#!/bin/sh
# What dist_train.sh and dist_test.sh share: dist_run.sh GPUS TOOL WORD ...
set -eu
gpus=$1 tool=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
exec "${PYTHON:-python}" "$root/tools/dist_run.py" \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" --nproc_per_node="$gpus" \
    "$root/tools/$tool" "$@" --launcher pytorch
