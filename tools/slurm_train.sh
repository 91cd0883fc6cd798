#!/bin/sh
# Train or search on SLURM: sh tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [options of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (more options of srun, split at spaces).
set -eu
if [ $# -lt 3 ]; then
    echo "usage: sh tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [options]" >&2
    exit 2
fi
exec sh "$(dirname "$0")/slurm_run.sh" train.py "$@"
