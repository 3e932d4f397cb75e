#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains one small GPT on meshes of up to 8 ranks, loads every checkpoint in Hugging Face transformers, and holds the losses
# that both compute on one text against each other.
#
# Usage: tools/check_transformers.sh [--install] [--python FILE] [--halfpipe FILE]
#   --install        make build/transformers, a virtual environment with PyTorch and transformers of PyPI, where it is missing
#   --python FILE    a Python with both (default build/transformers/bin/python)
#   --halfpipe FILE  the command (default build/halfpipe)
set -euo pipefail
cd "$(dirname "$0")/.."

install=no
python=build/transformers/bin/python
halfpipe=build/halfpipe
fail() {
  echo "halfpipe: error: $1" >&2
  exit "${2:-1}"
}
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '3,9s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    --install) install=yes ;;
    --python | --halfpipe)
      [ $# -ge 2 ] || fail "$1 wants a value" 2
      if [ "$1" = --python ]; then python=$2; else halfpipe=$2; fi
      shift
      ;;
    *) fail "unknown argument $1; tools/check_transformers.sh --help lists them" 2 ;;
  esac
  shift
done
if [ "$install" = yes ] && [ ! -x build/transformers/bin/python ]; then
  tools/install_packages.sh python3-venv
  python3 -m venv build/transformers
  build/transformers/bin/pip install --quiet torch transformers
fi
[ -x "$halfpipe" ] || fail "$halfpipe does not exist; build it with tools/build.sh halfpipe" 2
"$python" -c 'import torch, transformers' 2>/dev/null || fail "$python has no transformers; --install makes build/transformers" 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for i in $(seq 400); do echo "line $i of a text that repeats itself, but for its number $((i * i))"; done >"$work/text"
head -c 3000 "$work/text" >"$work/held-out"

# NAME SETTINGS ...
check() {
  local label=$1 name=$1-$bias-$tied
  shift
  local settings=()
  for setting in "$@"; do settings+=(--set "$setting"); done
  cat >"$work/$name.yaml" <<YAML
model: {num_layers: 8, num_heads: 4, hidden_size: 64, seq_len: 64, bias: $bias, tie_embeddings: $tied}
data: {text: $work/text, vocabulary: bytes}
train: {steps: 6, micro_batch_size: 2, global_batch_size: 32, evaluate_every: 0}
optimizer: {learning_rate: 3.0e-3, warmup_steps: 2}
output: {dir: $work/$name}
YAML
  local ranks=1
  for setting in "$@"; do
    case "$setting" in parallel.data=* | parallel.tensor=* | parallel.pipeline=*) ranks=$((ranks * ${setting#*=})) ;; esac
  done
  "$halfpipe" train "$work/$name.yaml" --local-ranks "$ranks" "${settings[@]}" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "halfpipe train failed on $name (its output is above)"
  }
  local checkpoint ours theirs
  checkpoint=$(echo "$work/$name"/checkpoints/step-*)
  ours=$("$halfpipe" evaluate "$checkpoint" --text "$work/held-out" --json | sed 's/.*"loss": *\([0-9.e+-]*\).*/\1/')
  theirs=$("$python" tests/oracles/transformers_loss.py "$checkpoint" "$work/held-out" 2>"$work/log") || {
    cat "$work/log" >&2
    fail "transformers did not load the checkpoint of $name (its output is above)"
  }
  printf '%-22s  biases %-5s  tied %-5s  halfpipe %.7f  transformers %.7f\n' "$label" "$bias" "$tied" "$ours" "$theirs"
  # Sums of float32 products in another order.
  awk "BEGIN { difference = $ours - $theirs; exit !(difference < 1e-5 * $theirs && -difference < 1e-5 * $theirs) }" ||
    fail "$name: the losses differ by more than 1e-5 of them"
}

for layout in "true true" "false false"; do
  read -r bias tied <<<"$layout"
  check one
  check dp2-tp2-pp2 parallel.data=2 parallel.tensor=2 parallel.pipeline=2
  check tp4 parallel.tensor=4
  check pp8 parallel.pipeline=8
  check dp8-zero parallel.data=8 optimizer.zero_stage=1
  check dp2-tp2-pp2-zero-bf16 parallel.data=2 parallel.tensor=2 parallel.pipeline=2 optimizer.zero_stage=1 train.precision=bf16 schedule.name=v-zb
done
echo "transformers: every checkpoint loads, losses are the same to 1e-5"
