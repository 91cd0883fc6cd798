#!/bin/sh
# Test a subnet on SLURM: sh tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (more options of srun, split at spaces).
set -eu
if [ $# -lt 4 ]; then
    echo "usage: sh tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options]" >&2
    exit 2
fi
exec sh "$(dirname "$0")/slurm_run.sh" test.py "$@"
