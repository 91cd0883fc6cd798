#!/usr/bin/env bash
# What training costs on one GPU, in one table; under 8 minutes. Usage: [BATCH=64] [PYTHON=python] sh benchmarks/gpu.sh
#
# Every row is one run of benchmarks/train_step.py: ours in one number format, against the same subnets as plain float32
# contiguous networks in the same run. The last row compiles the largest and the smallest subnet. On SLURM:
# srun -p $PARTITION --gres=gpu:1 --cpus-per-task=8 sh benchmarks/gpu.sh
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python}
BATCH=${BATCH:-64}
ERRORS=$(mktemp)
trap 'rm -f "$ERRORS"' EXIT

if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo 'gpu.sh: torch finds no GPU here: nothing was measured. On a CPU: python benchmarks/train_step.py'
    exit 0
fi

row() { # name, options
    name=$1
    shift
    # LIMIT seconds at most: a row that is not there in time says so, and the others are printed.
    timeout "$LIMIT" "$PYTHON" train_step.py --device cuda --batch "$BATCH" --rounds 10 --json "$@" 2>"$ERRORS" |
        tail -n 1 | "$PYTHON" -c '
import json, sys
line = sys.stdin.read()
name = sys.argv[1]
if not line.startswith("{"):
    last = (open(sys.argv[2], errors="replace").read().strip().splitlines() or ["not done in time"])[-1]
    sys.exit(print(f"{name:18} failed: {last}"))
row = json.loads(line)
columns = (row["images_per_second"], 1 / row["a_over_b"], row["a_over_c"], row["peak_bytes"] / 2**30)
print(f"{name:18} {columns[0]:10,.0f} {columns[1]:12.2f} {columns[2]:8.3f} {columns[3]:10.2f} {row['"'"'kernels'"'"']:9,}")
' "$name" "$ERRORS"
}

"$PYTHON" -c 'import torch; print(torch.cuda.get_device_name(), "torch", torch.__version__, "CUDA", torch.version.cuda)'
echo "batch $BATCH"
printf '%-18s %10s %12s %8s %10s %9s\n' 'ours' 'images/s' 'x plain fp32' 'a/c' 'peak GiB' 'kernels'
LIMIT=90
row float32 --dtype float32
row bfloat16 --dtype bfloat16
row float16 --dtype float16
LIMIT=200
row 'bfloat16 compiled' --dtype bfloat16 --best
