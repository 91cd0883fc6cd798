#!/bin/sh
# What slurm_train.sh and slurm_test.sh share: slurm_run.sh TOOL PARTITION JOB_NAME WORD ...
set -eu
tool=$1 partition=$2 job_name=$3
shift 3
if ! command -v srun >/dev/null; then
    echo "$tool on SLURM: srun was not found; run 'python tools/$tool' or tools/dist_${tool%.py}.sh instead" >&2
    exit 127
fi
root=$(cd "$(dirname "$0")/.." && pwd)
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-8}
[ "$gpus_per_node" -le "$gpus" ] || gpus_per_node=$gpus
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
# shellcheck disable=SC2086  # SRUN_ARGS is meant to be split
exec srun -p "$partition" --job-name="$job_name" \
    --gres="gpu:$gpus_per_node" --ntasks="$gpus" --ntasks-per-node="$gpus_per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$root/tools/$tool" "$@" --launcher=slurm
