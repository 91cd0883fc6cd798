#!/bin/sh
# Train or search with torchrun: sh tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500).
set -eu
if [ $# -lt 2 ]; then
    echo "usage: sh tools/dist_train.sh CONFIG GPUS [options]" >&2
    exit 2
fi
config=$1 gpus=$2
shift 2
exec sh "$(dirname "$0")/dist_run.sh" "$gpus" train.py "$config" "$@"
