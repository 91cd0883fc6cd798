#!/bin/sh
# Run one of the SLURM commands as a batch job that comes back: before the time limit, at a preemption and at a requeue
# the training saves, and the job goes on by itself where it was.
#   sh tools/slurm_submit.sh slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [options of tools/train.py]
#   sh tools/slurm_submit.sh slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
# Environment: that of the command, GRACE (120: seconds before the time limit at which to save), SBATCH_ARGS (more options
# of sbatch, split at spaces, e.g. '--time=1-00:00:00 --account=me').
set -eu
usage() {
    echo "usage: sh tools/slurm_submit.sh slurm_train.sh|slurm_test.sh PARTITION JOB_NAME CONFIG ... [options]" >&2
    exit 2
}
[ $# -ge 4 ] || usage
command=$(basename "$1")
case $command in
    slurm_train.sh) ;;
    slurm_test.sh) [ $# -ge 5 ] || usage ;;
    *) usage ;;
esac
partition=$2 job_name=$3
shift
for word in "$@"; do
    case $word in --resume*)
        echo "slurm_submit.sh adds --resume itself; to begin with a file's weights, use --checkpoint FILE" >&2
        exit 2
        ;;
    esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/slurm_size.sh
. "$root/tools/slurm_size.sh"
need sbatch slurm_submit.sh
# shellcheck disable=SC2086  # both are meant to be split
exec sbatch -p "$partition" --job-name="$job_name" $size \
    --requeue --open-mode=append --signal="B:USR1@${GRACE:-120}" ${SBATCH_ARGS:-} \
    "$root/tools/slurm_job.sh" "$root" "$command" "$@"
