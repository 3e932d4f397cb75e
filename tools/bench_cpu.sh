#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains one GPT-2 with Halfpipe and with PyTorch on all cores, in turns, and prints tokens per second of both.
#
# Usage: tools/bench_cpu.sh [--install] [--repetitions N] [--steps N] [--vocab-sizes "V ..."] [--halfpipe FILE]
#   --install        install what PyTorch needs (Debian's python3-torch and libopenblas0-openmp) where missing
#   --repetitions N  runs of each program per vocabulary, alternating (default 3)
#   --steps N        timed steps per run, after 2 that are not counted (default 6)
#   --vocab-sizes    default "256 50304"
#   --halfpipe FILE  the command to measure (default build/halfpipe)
#
# The model: 6 blocks, width 384, 6 heads, context 256, batch 8, biases, tied head, float32. Halfpipe runs one pipeline
# rank (1f1b, one micro-batch); PyTorch runs eagerly, on the OpenMP build of OpenBLAS where it is installed, with kernels
# for this processor, which is its fastest. Both run whole training steps: forward, backward, clipping, AdamW.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly layers=6 hidden=384 heads=6 seq_len=256 batch=8 warmup=2
install=no
repetitions=3
steps=6
vocab_sizes="256 50304"
halfpipe=build/halfpipe

fail() {
  echo "halfpipe: error: $1" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '3,14s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    --install) install=yes ;;
    --repetitions | --steps | --vocab-sizes | --halfpipe)
      [ $# -ge 2 ] || fail "$1 wants a value"
      case "$1" in
        --repetitions) repetitions=$2 ;;
        --steps) steps=$2 ;;
        --vocab-sizes) vocab_sizes=$2 ;;
        --halfpipe) halfpipe=$2 ;;
      esac
      shift
      ;;
    *) fail "unknown argument $1; tools/bench_cpu.sh --help lists them" ;;
  esac
  shift
done
for number in "$repetitions" "$steps" $vocab_sizes; do
  [[ "$number" =~ ^[1-9][0-9]*$ ]] || fail "'$number' must be a whole number of at least 1"
done

[ "$install" = no ] || tools/install_packages.sh python3-torch libopenblas0-openmp
[ -x "$halfpipe" ] || fail "$halfpipe does not exist; build it with tools/build.sh halfpipe"
# Debian's own Python: another one on the path would not see Debian's PyTorch.
python=/usr/bin/python3
torch_version=$("$python" -c 'import torch; print(torch.__version__)' 2>/dev/null) ||
  fail "$python has no PyTorch; --install installs it"
blas=$(echo /usr/lib/*-linux-gnu/openblas-openmp)
# OpenBLAS falls back to SSE3 kernels, four times slower, on processors newer than itself (Debian 12's 0.3.21 on Intel
# family 6 model 207), so it is told which vectors the machine has.
if [ -z "${OPENBLAS_CORETYPE:-}" ]; then
  if grep -qw avx512vl /proc/cpuinfo; then
    export OPENBLAS_CORETYPE=SkylakeX
  elif grep -qw avx2 /proc/cpuinfo; then
    export OPENBLAS_CORETYPE=Haswell
  fi
fi
[ -d "$blas" ] || echo "warning: without libopenblas0-openmp PyTorch is not at its fastest; --install installs it" >&2

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

run_halfpipe() {
  rm -rf "$work/run"
  cat >"$work/run.yaml" <<YAML
model: {num_layers: $layers, num_heads: $heads, hidden_size: $hidden, seq_len: $seq_len, vocab_size: $1, bias: true, tie_embeddings: true}
data: {text: $work/text, vocabulary: bytes, validation_fraction: 0}
train: {steps: $((steps + warmup)), micro_batch_size: $batch, global_batch_size: $batch, evaluate_every: 0}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
parallel: {pipeline: 1}
schedule: {name: 1f1b}
device: {kind: cpu, threads_per_rank: $cores}
output: {dir: $work/run}
YAML
  "$halfpipe" train "$work/run.yaml" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "halfpipe train failed (its output is above)"
  }
  counted_steps <"$work/run/metrics.jsonl"
}

run_pytorch() {
  LD_LIBRARY_PATH=$blas OMP_NUM_THREADS=$cores "$python" tools/bench/torch_gpt2_peer.py "$work/text" \
    --layers $layers --hidden $hidden --heads $heads --seq-len $seq_len --vocab-size "$1" --batch $batch \
    --steps $((steps + warmup)) --threads "$cores" | counted_steps
}

# Median tokens per second of the records in a file.
median() {
  sed 's/.*"tokens_per_second":\([^,}]*\).*/\1/' "$1" | sort -g |
    awk '{ x[NR] = $1 } END { printf "%.0f", (x[int((NR + 1) / 2)] + x[int((NR + 2) / 2)]) / 2 }'
}

echo "model: $layers blocks, width $hidden, $heads heads, context $seq_len, batch $batch, float32, $cores threads;" \
  "PyTorch $torch_version, OpenBLAS for ${OPENBLAS_CORETYPE:-the processor it finds}"
table=()
for vocab_size in $vocab_sizes; do
  rm -f "$work"/*.steps
  for repetition in $(seq "$repetitions"); do
    for program in halfpipe pytorch; do
      "run_$program" "$vocab_size" >"$work/this"
      cat "$work/this" >>"$work/$program.steps"
      echo "vocabulary $vocab_size, repetition $repetition, $program: $(median "$work/this") tokens/s"
    done
  done
  ours=$(median "$work/halfpipe.steps")
  theirs=$(median "$work/pytorch.steps")
  table+=("$vocab_size $ours $theirs $(awk "BEGIN { printf \"%.2f\", $ours / $theirs }")")
done

echo
printf '%10s  %17s  %16s  %5s\n' vocabulary "Halfpipe tokens/s" "PyTorch tokens/s" ratio
for row in "${table[@]}"; do
  # shellcheck disable=SC2086  # a row is four words
  printf '%10s  %17s  %16s  %5s\n' $row
done
echo "(median of $((steps * repetitions)) steps each)"
