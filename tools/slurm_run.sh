#!/bin/sh
# What slurm_train.sh and slurm_test.sh share: slurm_run.sh TOOL PARTITION JOB_NAME WORD ...
set -eu
tool=$1 partition=$2 job_name=$3
shift 3
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/slurm_size.sh
. "$root/tools/slurm_size.sh"
need srun "slurm_${tool%.py}.sh"
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
# shellcheck disable=SC2086  # size and SRUN_ARGS are meant to be split
exec srun -p "$partition" --job-name="$job_name" $size --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$root/tools/$tool" "$@" --launcher=slurm
