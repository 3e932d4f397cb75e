#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU: the tests of the CUDA kernels, training on the GPU held against the CPU and against
# itself under every schedule, the table of operations, and throughput beside PyTorch.
#
# Usage: tools/gpu_check.sh [--quick] [--programs DIR] [--output DIR] [--parts "PART ..."]
#   --quick         fewer schedules, and of compute-sanitizer memcheck and racecheck only
#   --programs DIR  where halfpipe and the cuda_*_test programs are (default: build; a folder that
#                   tools/stage_offline.sh has made serves too)
#   --output DIR    where logs, report.md and report.json go (default: runs/gpu_check); parts that have passed there are not run again
#   --parts         of: machine kernels sanitize train processes ops attention speed
set -uo pipefail
cd "$(dirname "$0")/.."

quick=no
programs=build
output=runs/gpu_check
parts="machine kernels sanitize train processes ops attention speed"

fail() {
  echo "halfpipe: error: $1" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '3,12s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    --quick) quick=yes ;;
    --programs | --output | --parts)
      [ $# -ge 2 ] || fail "$1 wants a value"
      case "$1" in
        --programs) programs=$2 ;;
        --output) output=$2 ;;
        --parts) parts=$2 ;;
      esac
      shift
      ;;
    *) fail "unknown argument $1; tools/gpu_check.sh --help lists them" ;;
  esac
  shift
done

# shellcheck disable=SC1091  # of a staged folder
for part in $parts; do
  case " machine kernels sanitize train processes ops attention speed " in
    *" $part "*) ;;
    *) fail "--parts: there is no part '$part'; tools/gpu_check.sh --help lists them" ;;
  esac
done
if [ -f "$programs/environment.sh" ]; then . "$programs/environment.sh"; fi
halfpipe=$(find -L "$programs" -maxdepth 2 -type f -name halfpipe -executable | head -n 1)
[ -n "$halfpipe" ] || fail "there is no halfpipe below $programs; build it (tools/build.sh --tests) or name its folder"
mkdir -p "$output" || fail "cannot make $output"

# Its path; of one that is not there, a name that cannot be run.
program() {
  local path
  path=$(find -L "$programs" -type f -name "$1" -executable | head -n 1)
  echo "${path:-$programs/$1-is-missing}"
}

machine() {
  nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.max.sm,power.limit --format=csv,noheader || return 1
  "$halfpipe" --version
}

kernels() {
  local failed=0
  for test in cuda_backend_test cuda_memory_bound_kernels_test cuda_attention_test; do
    echo "== $test"
    "$(program "$test")" --gtest_brief=1 || failed=1
  done
  return "$failed"
}

# Every memory access is checked by software: HALFPIPE_SANITIZE_FILTER, a filter of GoogleTest, leaves cases out.
sanitize() {
  command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not here"; return 1; }
  local failed=0
  local tools=(memcheck racecheck)
  [ "$quick" = yes ] || tools+=(initcheck synccheck)
  for tool in "${tools[@]}"; do
    for test in cuda_memory_bound_kernels_test cuda_attention_test; do
      echo "== $tool of $test"
      compute-sanitizer --tool "$tool" --error-exitcode 9 "$(program "$test")" \
        --gtest_brief=1 --gtest_filter="${HALFPIPE_SANITIZE_FILTER:-*}" | tail -n 15 || failed=1
    done
  done
  return "$failed"
}

text=$output/text
cat docs/*.md README.md >"$text"
cat >"$output/small.yaml" <<YAML
model: {num_layers: 8, num_heads: 4, hidden_size: 256, seq_len: 128}
data: {text: $text}
train: {steps: 20, micro_batch_size: 4, global_batch_size: 32, evaluate_every: 10, evaluate_batches: 1}
optimizer: {learning_rate: 1.0e-3, warmup_steps: 4}
YAML
cat >"$output/large.yaml" <<YAML
model: {vocab_size: 50304}
data: {text: $text}
train: {precision: bf16, evaluate_every: 0}
schedule: {name: 1f1b}
device: {kind: cuda}
YAML

# Trains the small model: NAME KIND PRECISION RANKS SCHEDULE [SETTING]; leaves NAME.losses and prints the parameters' hash.
train_small() {
  rm -rf "$output/run"
  "$halfpipe" train "$output/small.yaml" --local-ranks "$4" --set device.kind="$2" --set train.precision="$3" \
    --set parallel.pipeline="$4" --set schedule.name="$5" ${6:+--set "$6"} --set output.dir="$output/run" >"$output/$1.log" 2>&1 || { tail -n 5 "$output/$1.log" && return 1; }
  grep '"event":"train"' "$output/run/metrics.jsonl" | sed 's/.*"loss":\([^,]*\).*/\1/' >"$output/$1.losses"
  grep -o '"parameter_hash":"[^"]*"' "$output/run/metrics.jsonl" | tail -n 1
}

# Largest relative difference of two columns of losses.
difference() {
  paste "$1" "$2" | awk '{ d = ($1 - $2) / $2; if (d < 0) d = -d; if (d > most) most = d } END { printf "%.2e", most }'
}

# What evaluate says of the last small model on the GPU and on the CPU, and that generate writes.
use_trained() {
  local kind
  for kind in cpu cuda; do
    "$halfpipe" evaluate "$output/run" --text "$text" --device "$kind" --json 2>&1 |
      tee "$output/evaluate-$kind.log" | sed -n 's/.*"loss":\([^,]*\).*/\1/p' >"$output/evaluate-$kind.loss"
    [ -s "$output/evaluate-$kind.loss" ] || { tail -n 5 "$output/evaluate-$kind.log" && return 1; }
  done
  local differs
  differs=$(difference "$output/evaluate-cuda.loss" "$output/evaluate-cpu.loss")
  echo "evaluate --device cuda: loss $(cat "$output/evaluate-cuda.loss"), differs from the CPU's by $differs relative"
  # Both add in float32, in other orders.
  awk "BEGIN { exit !($differs <= 1e-5) }" || { echo "that is more than 1e-5" && return 1; }
  "$halfpipe" generate "$output/run" --device cuda --tokens 200 >"$output/generate.log" 2>&1 || { tail -n 5 "$output/generate.log" && return 1; }
}

train() {
  local failed=0
  local graphs=device.cuda_graphs=true
  local schedules="1f1b:1 1f1b:4 gpipe:4 zb-1p:4 v-half:4 v-zb:4 v-min:2 auto:4 1f1b:1:$graphs v-zb:4:$graphs 1f1b:4:train.recompute=full v-half:4:train.recompute=selective v-zb:4:device.fused_bias_gradient=true"
  [ "$quick" = no ] || schedules="1f1b:1 1f1b:4 v-half:2 v-zb:4 v-half:4:$graphs 1f1b:4:train.recompute=full v-half:4:device.fused_bias_gradient=true"
  # These have bits of their own.
  local others="1f1b:4:device.tune=true v-half:4:optimizer.moments=bf16 1f1b:4:device.fused_gelu=true"
  for precision in float32 bf16; do
    local first=""
    # Orders of sums differ between the devices, and training amplifies that: ten and three times what an H100 showed.
    local bound=6e-5
    [ "$precision" = float32 ] || bound=2e-2
    train_small "cpu-$precision" cpu "$precision" 1 1f1b || failed=1
    local cases="$schedules $others"
    [ "$precision" = float32 ] || cases+=" v-half:4:device.attention=auto"
    for each in $cases; do
      local name=cuda-$precision-${each//[:=]/-}
      local hash schedule ranks setting
      IFS=: read -r schedule ranks setting <<<"$each"
      hash=$(train_small "$name" cuda "$precision" "$ranks" "$schedule" "$setting") || { echo "$name: failed: $hash" && failed=1 && continue; }
      [ -n "$first" ] || first=$hash
      local same=same
      case "$setting" in
        device.tune=* | optimizer.moments=* | device.attention=* | device.fused_gelu=*) same=other ;;
        *) [ "$hash" = "$first" ] || { same=DIFFERENT && failed=1; } ;;
      esac
      local differs
      differs=$(difference "$output/$name.losses" "$output/cpu-$precision.losses")
      echo "$precision $each: $hash ($same bits); loss differs from the CPU's by at most $differs relative"
      local most=$bound
      [ "$setting" != optimizer.moments=bf16 ] || most=2e-2  # moments are rounded, the CPU's reference keeps them
      awk "BEGIN { exit !($differs <= $most) }" || { echo "that is more than $most" && failed=1; }
    done
  done
  use_trained || failed=1
  return "$failed"
}

# Ranks that are processes under mpirun: NAME RANKS SCHEDULE TRANSPORT; prints the parameters' hash. NCCL takes processes
# that share a GPU only for ranks of several machines, each with a name of its own: right, and slow.
train_by_mpi() {
  rm -rf "$output/run"
  # shellcheck disable=SC2016  # each process expands its own number
  timeout 300 mpirun --oversubscribe -n "$2" sh -c 'export NCCL_HOSTID=halfpipe-$OMPI_COMM_WORLD_RANK; exec "$@"' sh \
    "$halfpipe" train "$output/small.yaml" --set device.kind=cuda --set train.precision=bf16 --set train.steps=5 \
    --set parallel.pipeline="$2" --set schedule.name="$3" --set parallel.transport="$4" --set optimizer.warmup_steps=1 \
    --set output.dir="$output/run" >"$output/$1.log" 2>&1 || { tail -n 5 "$output/$1.log" && return 1; }
  grep -o '"parameter_hash":"[^"]*"' "$output/run/metrics.jsonl" | tail -n 1
}

processes() {
  # shellcheck disable=SC1091
  . tools/mpi_environment.sh
  local failed=0 first=""
  local jobs="1f1b:1:host 1f1b:1:nccl 1f1b:2:host 1f1b:2:nccl v-half:2:nccl v-zb:4:nccl interleaved:4:nccl"
  [ "$quick" = no ] || jobs="1f1b:1:host 1f1b:2:host 1f1b:2:nccl v-half:4:nccl"
  for job in $jobs; do
    local schedule ranks transport hash same=same
    IFS=: read -r schedule ranks transport <<<"$job"
    hash=$(train_by_mpi "mpi-$transport-$schedule-$ranks" "$ranks" "$schedule" "$transport") ||
      { echo "$job: failed: $hash" && failed=1 && continue; }
    [ -n "$first" ] || first=$hash
    [ "$hash" = "$first" ] || { same=DIFFERENT && failed=1; }
    echo "$job: $hash ($same bits)"
  done
  return "$failed"
}

gpt2_124m="--set model.num_layers=12 --set model.num_heads=12 --set model.hidden_size=768 --set model.seq_len=1024"
gpt2_1558m="--set model.num_layers=48 --set model.num_heads=25 --set model.hidden_size=1600 --set model.seq_len=1024"

ops() {
  # shellcheck disable=SC2086  # several words
  "$halfpipe" bench ops "$output/large.yaml" $gpt2_1558m --set train.micro_batch_size=8 --seconds 0.2 \
    --json "$output/ops.json" || return 1
  echo "== products tuned"
  # shellcheck disable=SC2086
  "$halfpipe" bench ops "$output/large.yaml" $gpt2_1558m --set train.micro_batch_size=8 --seconds 0.2 \
    --set device.tune=true --json "$output/ops-tuned.json" || return 1
  echo "== products tuned, GELU within c_fc, the gradient of c_fc's bias within GELU's"
  # shellcheck disable=SC2086
  "$halfpipe" bench ops "$output/large.yaml" $gpt2_1558m --set train.micro_batch_size=8 --seconds 0.2 \
    --set device.tune=true --set device.fused_gelu=true --set device.fused_bias_gradient=true --json "$output/ops-fused.json"
}

attention() { "$(program cuda_attention_bench)"; }

# Tokens per second of PyTorch; "failed" where it did not end in time.
peer() {
  local rate
  rate=$(timeout "${HALFPIPE_PEER_SECONDS:-600}" python3 tools/bench/torch_gpt2_peer.py "$text" --threads "$(nproc)" --device cuda --precision bf16 --vocab-size 50304 "$@" |
    tail -n 8 | sed 's/.*"tokens_per_second":\([^,}]*\).*/\1/' | sort -g | sed -n 4p)
  echo "${rate:-failed}"
}

speed() {
  local steps=10
  echo "== 124M, 32 sequences of 1024 a step in micro-batches of 16"
  # shellcheck disable=SC2086
  "$halfpipe" bench "$output/large.yaml" --local-ranks 1 $gpt2_124m --set train.micro_batch_size=16 \
    --set train.global_batch_size=32 --steps $steps --json "$output/speed-124m.json" || return 1
  for setting in device.tune=true device.cuda_graphs=true device.fused_gelu=true device.fused_bias_gradient=true; do
    echo "== the same with $setting"
    # shellcheck disable=SC2086
    "$halfpipe" bench "$output/large.yaml" --local-ranks 1 $gpt2_124m --set train.micro_batch_size=16 \
      --set train.global_batch_size=32 --steps $steps --set $setting || return 1
  done
  for graphs in false true; do
    echo "== 124M, 32 sequences of 1024 a step in micro-batches of 1; device.cuda_graphs: $graphs"
    # shellcheck disable=SC2086
    "$halfpipe" bench "$output/large.yaml" --local-ranks 1 $gpt2_124m --set train.micro_batch_size=1 \
      --set train.global_batch_size=32 --steps $steps --set device.cuda_graphs=$graphs || return 1
  done
  echo "PyTorch, compiled: $(peer --layers 12 --hidden 768 --heads 12 --seq-len 1024 --batch 16 --micro-batches 2 --steps 12 --compile) tok/s"
  echo "== 1558M, 16 sequences of 1024 a step in micro-batches of 4"
  # shellcheck disable=SC2086
  "$halfpipe" bench "$output/large.yaml" --local-ranks 1 $gpt2_1558m --set train.micro_batch_size=4 \
    --set train.global_batch_size=16 --steps 5 || return 1
  local tune fused sums
  for each in false:false:false true:false:false true:true:false true:true:true; do
    IFS=: read -r tune fused sums <<<"$each"
    echo "== 1558M, 16 sequences of 1024 a step in one micro-batch; products tuned: $tune, GELU within them: $fused, a bias's gradient within GELU's: $sums"
    # shellcheck disable=SC2086
    "$halfpipe" bench "$output/large.yaml" --local-ranks 1 $gpt2_1558m --set train.micro_batch_size=16 \
      --set train.global_batch_size=16 --steps 5 --set device.tune=$tune --set device.fused_gelu=$fused \
      --set device.fused_bias_gradient=$sums || return 1
  done
  echo "PyTorch, compiled: $(peer --layers 48 --hidden 1600 --heads 25 --seq-len 1024 --batch 4 --micro-batches 4 --steps 9 --compile) tok/s"
}

failed=""
summary=""  # one JSON object per part
note() { summary+="${summary:+, }{\"part\": \"$1\", \"result\": \"$2\", \"seconds\": $3}"; }
# What a part that has passed was run with: another build, or more to check, runs it again.
key="$quick ${HALFPIPE_SANITIZE_FILTER:-*} $(sha256sum <"$halfpipe")"
for part in $parts; do
  if [ "$(cat "$output/$part.passed" 2>/dev/null)" = "$key" ]; then
    echo "$part: passed before"
    note "$part" "passed before" 0
    continue
  fi
  rm -f "$output/$part.passed"
  begin=$SECONDS
  if "$part" >"$output/$part.log" 2>&1; then
    echo "$key" >"$output/$part.passed"
    note "$part" passed $((SECONDS - begin))
    echo "$part: passed ($((SECONDS - begin)) s)"
  else
    failed+=" $part"
    note "$part" failed $((SECONDS - begin))
    echo "$part: FAILED ($((SECONDS - begin)) s); the end of $output/$part.log:"
    tail -n 25 "$output/$part.log"
  fi
done
{
  echo "# $(date -u +%Y-%m-%d)"
  for part in $parts; do
    printf '\n## %s (%s)\n\n```\n' "$part" "$([ -e "$output/$part.passed" ] && echo passed || echo FAILED)"
    cat "$output/$part.log"
    echo '```'
  done
} >"$output/report.md"
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
printf '{"date": "%s", "gpu": "%s", "halfpipe": "%s", "parts": [%s]}\n' "$(date -u +%Y-%m-%d)" "${gpu:-none}" \
  "$("$halfpipe" --version | head -n 1)" "$summary" >"$output/report.json"
[ -z "$failed" ] || { echo "gpu_check: failed:$failed"; exit 1; }
echo "gpu_check: all parts passed"
