#!/bin/sh
# The batch script of slurm_submit.sh: slurm_job.sh ROOT COMMAND PARTITION JOB_NAME WORD ...
# SLURM signals this script before it takes the nodes. The signal is passed on to the processes, which save and leave;
# then the job is put back into the queue. SLURM itself does not requeue what left within the grace time.
set -u
root=$1 command=$2
shift 2
unset SRUN_ARGS # the job's size and limits are those of sbatch; a --time among them would end the step alone
if [ "$command" = slurm_train.sh ]; then
    set -- "$@" --resume
fi
echo "job $SLURM_JOB_ID starts on $SLURM_JOB_NODELIST, restarts so far: ${SLURM_RESTART_COUNT:-0}"

signalled=
pass_on() {
    signalled=1
    # The steps, not this script.
    scancel --signal=USR1 "$SLURM_JOB_ID" || echo "job $SLURM_JOB_ID: its processes could not be signalled" >&2
}
trap pass_on USR1 TERM

sh "$root/tools/$command" "$@" &
running=$!
while :; do
    wait "$running"
    code=$?
    kill -0 "$running" 2>/dev/null || break # a signal ends wait, not the command
done

# With code 128 and more a signal ended it. At a preemption SLURM may signal the processes alone; the job then has a
# PreemptTime. A job that scancel ended is no longer RUNNING, and stays ended.
if [ "$code" -ge 128 ]; then
    job=$(scontrol show job "$SLURM_JOB_ID")
    case $job in *PreemptTime=[0-9]*) signalled=1 ;; esac
    case $job in *JobState=RUNNING*) ;; *) signalled= ;; esac
else
    signalled=
fi
if [ -n "$signalled" ]; then
    echo "job $SLURM_JOB_ID goes back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60 # until SLURM ends this script: were it gone before, the job would count as finished
fi
exit "$code"
