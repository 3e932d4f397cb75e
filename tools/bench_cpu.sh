#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains one GPT-2 with Halfpipe and with PyTorch on all cores, in turns, and prints tokens per second of both.
#
# Usage: tools/bench_cpu.sh [--install] [--repetitions N] [--steps N] [--warm-up N] [--vocab-sizes "V ..."]
#                           [--precisions "P ..."] [--modes "M ..."] [--python FILE] [--halfpipe FILE]
#   --install        make build/torch, a virtual environment with the newest PyTorch of PyPI, where it is missing
#   --repetitions N  runs of each program per vocabulary, alternating (default 5)
#   --steps N        timed steps per run (default 6)
#   --warm-up N      steps before those, not counted (default 3)
#   --vocab-sizes    default "256 50304"
#   --precisions     of float32 and bf16 (default both)
#   --modes          of PyTorch: eager, compiled (torch.compile) (default both)
#   --python FILE    a Python with PyTorch (default build/torch/bin/python)
#   --halfpipe FILE  the command to measure (default build/halfpipe)
#
# The model: 6 blocks, width 384, 6 heads, context 256, batch 8, biases, tied head. Halfpipe runs one pipeline rank on all
# cores (1f1b, one micro-batch) and, to show what a pipeline costs, two ranks on one core each (v-zb, 8 micro-batches of
# one sequence). bf16 of PyTorch is its autocast. All run whole training steps: forward, backward, clipping, AdamW.
# Before each run the multiply-adds that all cores do from registers are measured (ninja -C build cpu_peak_bench): no
# float32 program can be faster than that rate / the model's FLOPs per token. And how far apart the cores are (ninja -C
# build core_distance_bench): threads of one rank share data, and virtual CPUs may share a cache in one minute and none in
# the next.
# Were two threads twice as fast as one, two ranks could reach all work / (2 x work of the busier rank) of one rank, by
# the plan's FLOPs: that bound is printed, too.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly layers=6 hidden=384 heads=6 seq_len=256 batch=8
install=no
repetitions=5
steps=6
warmup=3
vocab_sizes="256 50304"
precisions="float32 bf16"
modes="eager compiled"
python=build/torch/bin/python
halfpipe=build/halfpipe

fail() {
  echo "halfpipe: error: $1" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '3,27s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    --install) install=yes ;;
    --repetitions | --steps | --warm-up | --vocab-sizes | --precisions | --modes | --python | --halfpipe)
      [ $# -ge 2 ] || fail "$1 wants a value"
      case "$1" in
        --repetitions) repetitions=$2 ;;
        --steps) steps=$2 ;;
        --warm-up) warmup=$2 ;;
        --vocab-sizes) vocab_sizes=$2 ;;
        --precisions) precisions=$2 ;;
        --modes) modes=$2 ;;
        --python) python=$2 ;;
        --halfpipe) halfpipe=$2 ;;
      esac
      shift
      ;;
    *) fail "unknown argument $1; tools/bench_cpu.sh --help lists them" ;;
  esac
  shift
done
for number in "$repetitions" "$steps" "$warmup" $vocab_sizes; do
  [[ "$number" =~ ^[1-9][0-9]*$ ]] || fail "'$number' must be a whole number of at least 1"
done

for precision in $precisions; do
  [[ "$precision" =~ ^(float32|bf16)$ ]] || fail "--precisions: '$precision' must be float32 or bf16"
done
for mode in $modes; do
  [[ "$mode" =~ ^(eager|compiled)$ ]] || fail "--modes: '$mode' must be eager or compiled"
done

if [ "$install" = yes ] && [ ! -x build/torch/bin/python ]; then
  tools/install_packages.sh python3-venv python3-dev
  python3 -m venv build/torch
  build/torch/bin/pip install --quiet torch numpy setuptools
fi
peak=build/tools/bench/cpu_peak_bench
[ -x "$peak" ] || fail "$peak does not exist; build it with ninja -C build cpu_peak_bench"
distance=build/tools/bench/core_distance_bench
[ -x "$distance" ] || fail "$distance does not exist; build it with ninja -C build core_distance_bench"
[ -x "$halfpipe" ] || fail "$halfpipe does not exist; build it with tools/build.sh halfpipe"
torch_version=$("$python" -c 'import torch; print(torch.__version__)' 2>/dev/null) ||
  fail "$python has no PyTorch; --install makes build/torch"

cores=$(nproc)
load=$(cut -d ' ' -f 1 /proc/loadavg)
if awk "BEGIN { exit !($load > 0.5) }"; then
  echo "warning: other work runs on this machine (load average $load): the figures will be off" >&2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -c 1000000 /dev/urandom >"$work/text"

# Records of the counted steps of a run, one JSON object per line on standard output.
counted_steps() { grep '"event":"train"' | tail -n +$((warmup + 1)); }

# VOCABULARY PRECISION RANKS SCHEDULE MICRO_BATCH
train_halfpipe() {
  rm -rf "$work/run"
  cat >"$work/run.yaml" <<YAML
model: {num_layers: $layers, num_heads: $heads, hidden_size: $hidden, seq_len: $seq_len, vocab_size: $1, bias: true, tie_embeddings: true}
data: {text: $work/text, vocabulary: bytes, validation_fraction: 0}
train: {steps: $((steps + warmup)), micro_batch_size: $5, global_batch_size: $batch, evaluate_every: 0, precision: $2}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
parallel: {pipeline: $3}
schedule: {name: $4}
device: {kind: cpu, threads_per_rank: $((cores > $3 ? cores / $3 : 1))}
output: {dir: $work/run}
YAML
  "$halfpipe" train "$work/run.yaml" --local-ranks "$3" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "halfpipe train failed (its output is above)"
  }
  counted_steps <"$work/run/metrics.jsonl"
}
run_halfpipe() { train_halfpipe "$1" "$2" 1 1f1b "$batch"; }
run_halfpipe-2-ranks() { train_halfpipe "$1" "$2" 2 v-zb 1; }

# VOCABULARY PRECISION [argument of the peer]
train_pytorch() {
  local vocab_size=$1 precision=$2
  shift 2
  OMP_NUM_THREADS=$cores "$python" tools/bench/torch_gpt2_peer.py "$work/text" --layers $layers --hidden $hidden --heads $heads \
    --seq-len $seq_len --vocab-size "$vocab_size" --batch $batch --steps $((steps + warmup)) --threads "$cores" \
    --precision "$precision" "$@" >"$work/peer" 2>"$work/log" || {
    cat "$work/log" >&2
    fail "PyTorch failed (its output is above)"
  }
  counted_steps <"$work/peer"
}
run_eager() { train_pytorch "$1" "$2"; }
run_compiled() { train_pytorch "$1" "$2" --compile; }

flops_per_token() {
  "$halfpipe" plan "$work/run.yaml" --json "$work/plan.json" >/dev/null
  "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["model"]["flops_per_token"])' "$work/plan.json"
}

# What the plan of the last run of Halfpipe allows: all work / (ranks x work of the busiest).
bound_of_plan() {
  rm -f "$work/plan.json"
  "$halfpipe" plan "$work/run.yaml" --json "$work/plan.json" >/dev/null
  "$python" - "$work/plan.json" <<'PYTHON'
import collections, json, sys
work = collections.Counter()
for row in json.load(open(sys.argv[1]))["rows"]:
    work[row["device"]] += row["end"] - row["start"]
print("%.2f" % (sum(work.values()) / (len(work) * max(work.values()))))
PYTHON
}

# Tokens per second at the rate of all cores' multiply-adds, as a record; whose schedule does not matter.
run_ceiling() {
  "$peak" "$cores" 1 | awk -v flops="$flops_per_token" '{ printf "{\"tokens_per_second\":%.1f}\n", $1 * 1e9 / flops }'
}

# Median tokens per second of the records in a file.
median() {
  sed 's/.*"tokens_per_second":\([^,}]*\).*/\1/' "$1" | sort -g |
    awk '{ x[NR] = $1 } END { printf "%.0f", (x[int((NR + 1) / 2)] + x[int((NR + 2) / 2)]) / 2 }'
}

echo "model: $layers blocks, width $hidden, $heads heads, context $seq_len, batch $batch, $cores threads; PyTorch $torch_version"
table=()
bounds=()
for vocab_size in $vocab_sizes; do
  for precision in $precisions; do
    rm -f "$work"/*.steps
    flops_per_token=
    for repetition in $(seq "$repetitions"); do
      for program in halfpipe halfpipe-2-ranks $modes; do
        [ -z "$flops_per_token" ] || run_ceiling >>"$work/ceiling.steps"
        apart=$("$distance")
        "run_$program" "$vocab_size" "$precision" >"$work/this"
        [ -n "$flops_per_token" ] || flops_per_token=$(flops_per_token)
        cat "$work/this" >>"$work/$program.steps"
        [ "$program" != halfpipe-2-ranks ] || bound=$(bound_of_plan)
        echo "vocabulary $vocab_size, $precision, repetition $repetition, $program: $(median "$work/this") tokens/s, cores $apart ns apart"
      done
    done
    ours=$(median "$work/halfpipe.steps")
    ranks=$(median "$work/halfpipe-2-ranks.steps")
    bounds+=("$vocab_size $precision $(awk "BEGIN { printf \"%.2f\", $ranks / $ours }") $bound")
    for program in halfpipe halfpipe-2-ranks $modes ceiling; do
      rate=$(median "$work/$program.steps")
      table+=("$vocab_size $precision $program $rate $(awk "BEGIN { printf \"%.2f\", $ours / $rate }")")
    done
  done
done

echo
printf '%10s  %9s  %16s  %8s  %22s\n' vocabulary precision program tokens/s "Halfpipe (1 rank) / it"
for row in "${table[@]}"; do
  # shellcheck disable=SC2086  # a row is five words
  printf '%10s  %9s  %16s  %8s  %22s\n' $row
done
for row in "${bounds[@]}"; do
  # shellcheck disable=SC2086  # a row is four words
  printf 'vocabulary %s, %s: 2 ranks / 1 rank %s, the work of the busier rank allows %s\n' $row
done
echo "(medians: of $((steps * repetitions)) steps; ceiling: float32 multiply-adds from registers, all cores, measured between the runs)"
