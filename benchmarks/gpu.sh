#!/usr/bin/env bash
# What training costs on one GPU: one table, and one line of JSON; 6 minutes at most.
# Usage: [BATCH=64] [PYTHON=python] bash benchmarks/gpu.sh [--out DIR] [--peer PATH] [--rehearse]
#
# Every row is a process with a limit of its own (gpu_step.py); gpu_rows.py says what rows and columns are. --out keeps
# outputs and profiles. --peer adds AttentiveNAS's step, from a clone of its repository. --rehearse runs it all on a CPU
# with the demo's small space. On SLURM: srun -p $PARTITION --gres=gpu:1 --cpus-per-task=8 bash benchmarks/gpu.sh
set -eu
exec "${PYTHON:-python}" -u "$(dirname "$0")/gpu_rows.py" --batch "${BATCH:-64}" "$@"
