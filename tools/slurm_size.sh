# What the SLURM scripts share, read by them: the size of a job, from GPUS (8), GPUS_PER_NODE (8) and CPUS_PER_TASK (5).
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-8}
[ "$gpus_per_node" -le "$gpus" ] || gpus_per_node=$gpus
size="--gres=gpu:$gpus_per_node --ntasks=$gpus --ntasks-per-node=$gpus_per_node --cpus-per-task=${CPUS_PER_TASK:-5}"

need() {
    command -v "$1" >/dev/null && return
    echo "$2: $1 was not found, is this a login node of SLURM? Without SLURM, see 'On one machine' in README.md" >&2
    exit 127
}
