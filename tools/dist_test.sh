#!/bin/sh
# Test a subnet with torchrun: sh tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500).
set -eu
if [ $# -lt 3 ]; then
    echo "usage: sh tools/dist_test.sh CONFIG CHECKPOINT GPUS [options]" >&2
    exit 2
fi
config=$1 checkpoint=$2 gpus=$3
shift 3
exec sh "$(dirname "$0")/dist_run.sh" "$gpus" test.py "$config" "$checkpoint" "$@"
