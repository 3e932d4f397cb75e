#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Kills random ranks of a training job at random moments (SIGKILL) and proves that nothing is lost: after each kill the job
# ends within ten seconds with one message that names the rank and exit code 1 or 137 (SIGKILL), every checkpoint that has its
# name is whole, and the next job goes on from the newest. A job that reaches its last step must have the parameters of one
# that was never interrupted, to the bit.
#
# Usage: tools/stress_kill.sh [--kills N] [--ranks-per-axis "DATA TENSOR PIPELINE"] [--steps N] [--seed S] [--program FILE] [--output DIR]
#   --kills N           default 20; every third one falls into the start, the steps, a save
#   --ranks-per-axis    default "2 2 2": eight processes of one thread
#   --steps N           of a whole run, default 60; a checkpoint every fourth
#   --seed S            of ranks and moments, default 1
#   --program FILE      default build/halfpipe
#   --output DIR        kept; default: a temporary folder, kept only when something was lost
# A line for each kill:
#   kill 5: rank 3/8 after 4.31 s | at step 7, instruction 12: forward | exit code 137 after 0.21 s | 2 checkpoints whole | to resume from step 4
# Exit code: 0 nothing was lost, 1 something was, 2 wrong use.
set -euo pipefail

kills=20
axes="2 2 2"
steps=60
seed=1
program=$(dirname "$0")/../build/halfpipe
output=
readonly longest_end=10      # seconds from a kill to the end of the job
readonly longest_job=300     # seconds in which a job must reach its kill or its last step, on a busy machine
readonly checkpoint_every=4

fail() {
  echo "halfpipe: error: $1" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '3,18s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    --kills | --ranks-per-axis | --steps | --seed | --program | --output)
      [ $# -ge 2 ] || fail "$1 wants a value"
      case "$1" in
        --kills) kills=$2 ;;
        --ranks-per-axis) axes=$2 ;;
        --steps) steps=$2 ;;
        --seed) seed=$2 ;;
        --program) program=$2 ;;
        --output) output=$2 ;;
      esac
      shift
      ;;
    *) fail "$1 is not an option; --help lists them" ;;
  esac
  shift
done
for number in "$kills" "$steps" "$seed"; do
  [[ $number =~ ^[0-9]+$ ]] || fail "'$number' is not a number"
done
[[ $axes =~ ^[1-9]\ [1-9]\ [1-9]$ ]] || fail "--ranks-per-axis '$axes': three numbers from 1 to 9, as \"2 2 2\""
[ -x "$program" ] || fail "no program $program; tools/build.sh makes it"
program=$(realpath "$program")
. "$(dirname "$0")/mpi_environment.sh"
read -r data tensor pipeline <<<"$axes"
ranks=$((data * tensor * pipeline))

if [ -n "$output" ]; then
  [ ! -e "$output" ] || fail "--output $output is there already"
  mkdir -p "$output"
  folder=$(realpath "$output")
else
  folder=$(mktemp -d "${TMPDIR:-/tmp}/halfpipe-kill-XXXXXX")
fi
cd "$folder"

for ((i = 0; i < 250; ++i)); do
  echo "line $i: $((i * 7 % 13)) words go over the bridge"
done >text.txt
cat >run.yaml <<END
model: {num_layers: 4, num_heads: 4, hidden_size: 32, seq_len: 16}
data: {text: text.txt}
train: {steps: $steps, micro_batch_size: 4, global_batch_size: $((32 * data)), evaluate_every: 0}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
parallel: {data: $data, tensor: $tensor, pipeline: $pipeline}
schedule: {name: v-half}
device: {threads_per_rank: 1}
output: {checkpoint_every: $checkpoint_every, keep: 3}
END

job=  # the mpirun that runs
on_exit() {
  # Open MPI gives every rank a process group of its own; they end with their mpirun.
  if [ -n "$job" ]; then kill -KILL "$job" 2>/dev/null || true; fi
}
trap on_exit EXIT

now() { echo "${EPOCHREALTIME/,/.}"; }
seconds_since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
later_than() { awk -v a="$1" -v b="$(now)" -v limit="$2" 'BEGIN { exit !(b - a > limit) }'; }
# A number from 0 to $1 with the generator of this script, in $drawn: a subshell would not move it on.
RANDOM=$seed
draw() { drawn=$(((RANDOM * 32768 + RANDOM) % ($1 + 1))); }
nap_ms() { sleep "$(awk -v ms="$1" 'BEGIN { print ms / 1000 }')"; }

lost=0
complain() {
  echo "  LOST: $1" >&2
  lost=$((lost + 1))
}

# Both optimizers and both ways to save, in turn; all end with the same parameters.
settings_of() {
  echo "--set optimizer.zero_stage=$(($1 % 2)) --set output.asynchronous_checkpoints=$([ $(($1 / 2 % 2)) -eq 1 ] && echo true || echo false)"
}

# start SETTINGS: the job with its output in out/, in the background.
start() {
  touch start_mark
  # shellcheck disable=SC2086
  mpirun -n "$ranks" --oversubscribe --bind-to none "$program" train run.yaml --set output.dir=out --resume $1 >job.out 2>job.err &
  job=$!
  started=$(now)
}

# end_of_job SECONDS: waits for it at most so long; $exit_code, or "none".
end_of_job() {
  local from
  from=$(now)
  exit_code=none
  while kill -0 "$job" 2>/dev/null; do
    if later_than "$from" "$1"; then return; fi
    sleep 0.02
  done
  exit_code=0
  wait "$job" || exit_code=$?
  job=
}

process_of_rank() {
  local child
  for child in $(pgrep -P "$job" || true); do
    if tr '\0' '\n' <"/proc/$child/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1"; then
      echo "$child"
      return
    fi
  done
}

# Its lines are "step  7/60 | loss ...".
last_step() { sed -n 's/^step *\([0-9]*\)\/.*/\1/p' job.out | tail -1; }
job_ended_early() { ! kill -0 "$job" 2>/dev/null; }

# wait_for CONDITION...: until it holds, the job has ended, or took too long. The pause is short: a save takes some ten milliseconds.
wait_for() {
  until "$@" || job_ended_early || later_than "$started" "$longest_job"; do
    sleep 0.005
  done
}
reached_step() { [ "$(last_step || true)" -ge "$1" ] 2>/dev/null; }
rank_runs() {
  victim=$(process_of_rank "$1")
  [ -n "$victim" ]
}
# A folder that this job fills: the one before may have left one behind.
saves() {
  compgen -G 'out/checkpoints/.tmp-step-*' >/dev/null &&
    [ -n "$(find out/checkpoints -maxdepth 1 -name '.tmp-step-*' -newer start_mark 2>/dev/null)" ]
}

# The moment of kill number $1: in the start, in a step, or in a save.
wait_for_moment() {
  local rank=$2
  acquainted=yes
  wait_for rank_runs "$rank"
  case $(($1 % 3)) in
    0)
      draw $((start_ms * 3 / 4))  # the first line comes late, and later on a machine with other work
      nap_ms "$drawn"
      # Until the start report nobody can tell from outside whether the ranks see one another yet.
      [ -s job.out ] || acquainted=no
      ;;
    1)
      draw 12
      wait_for reached_step $((first_step + drawn))
      draw "$step_ms"
      nap_ms "$drawn"
      ;;
    2)
      draw 8
      wait_for reached_step $((first_step + drawn))
      wait_for saves
      draw 20
      nap_ms "$drawn"
      ;;
  esac
}

# The step of the newest checkpoint; nothing without one.
newest() { { find out/checkpoints -maxdepth 1 -name 'step-*' 2>/dev/null || true; } | sort | tail -1 | sed 's/.*step-0*//'; }

check_message() {
  local rank=$1 victim=$2 errors
  errors=$(grep -c '^halfpipe: error:' job.err || true)
  phase=$(sed -n 's/^halfpipe: error: rank .* has died \(.*\); ending the job$/\1/p' job.err)
  if [ "$errors" -eq 0 ] && [ "$acquainted" = no ]; then
    # As long as MPI starts, only the launcher can say who died.
    phase="start, named by mpirun"
    grep -q "process rank $rank with PID .* signal 9" job.err || complain "no message names rank $rank: $(cat job.err)"
  elif [ "$errors" -ne 1 ]; then
    complain "$errors messages instead of one: $(cat job.err)"
  elif ! grep -q "^halfpipe: error: rank $rank/$ranks (pid $victim) has died" job.err; then
    complain "the message does not name rank $rank: $(cat job.err)"
  fi
}

check_checkpoints() {
  local checkpoint
  num_whole=0
  for checkpoint in out/checkpoints/step-*; do
    [ -e "$checkpoint" ] || continue
    if "$program" inspect "$checkpoint" >inspect.out 2>&1; then
      num_whole=$((num_whole + 1))
    else
      complain "$checkpoint is not whole: $(tail -1 inspect.out)"
    fi
  done
  # Retention may take one away while the job dies, never the newest.
  if [ -n "$(newest)" ] && [ "$num_whole" -eq 0 ]; then complain "no whole checkpoint is left"; fi
}

# What the job printed as saved must be there, or a newer one.
check_nothing_saved_is_lost() {
  local said
  said=$(sed -n 's/^checkpoint of step \([0-9]*\) in .*/\1/p' job.out | tail -1)
  if [ -n "$said" ] && [ "$(newest || true)" -lt "$said" ]; then complain "the checkpoint of step $said was reported and is not there"; fi
}

# The first step of the job that runs must follow the newest checkpoint that was there when it began.
check_resumed() {
  local first
  first=$(sed -n 's/^step *\([0-9]*\)\/.*/\1/p' job.out | head -1)
  if [ -n "$first" ] && [ "$first" -ne $((first_step + 1)) ]; then
    complain "the job went on with step $first after a checkpoint of step $first_step"
  fi
}

hash_of() { sed -n "s/.*\"event\":\"end\",\"step\":$steps,\"parameter_hash\":\"\([0-9a-f]*\)\".*/\1/p" "$1/metrics.jsonl"; }

num_finished=0
check_finished() {
  local hash
  hash=$(hash_of out)
  if [ "$exit_code" != 0 ]; then
    complain "a job without a kill ended with exit code $exit_code: $(tail -3 job.err)"
  elif [ "$hash" != "$reference" ]; then
    complain "parameters ${hash:-without a hash} after $steps steps instead of $reference"
  else
    num_finished=$((num_finished + 1))
  fi
  rm -rf out
}

echo "stress_kill: $kills kills, data $data x tensor $tensor x pipeline $pipeline, seed $seed, $(nproc) cores, in $folder"
start "$(settings_of 0)"
wait_for reached_step 1
start_ms=$(awk -v s="$(seconds_since "$started")" 'BEGIN { printf "%d", 1000 * s }')
end_of_job "$longest_job"
[ "$exit_code" = 0 ] || fail "the uninterrupted run ended with exit code $exit_code: $(tail -3 job.err)"
reference=$(hash_of out)
[ -n "$reference" ] || fail "the uninterrupted run has no end in out/metrics.jsonl"
whole=$(seconds_since "$started")
step_ms=$(awk -F'|' '/^step/ { sub(/ms/, "", $5); sum += $5; n++ } END { printf "%d", sum / n + 1 }' job.out)
rm -rf out
echo "uninterrupted: $steps steps in $whole s, the first after $start_ms ms, $step_ms ms each, parameters $reference"

num_killed=0
slowest_end=0
tries=0
while [ "$num_killed" -lt "$kills" ] && [ "$lost" -eq 0 ]; do
  tries=$((tries + 1))
  first_step=$(newest)
  first_step=${first_step:-0}
  start "$(settings_of "$tries")"
  draw $((ranks - 1))
  rank=$drawn
  wait_for_moment "$num_killed" "$rank"
  if job_ended_early; then
    # It reached its last step before its moment came.
    end_of_job "$longest_job"
    check_resumed
    check_finished
    continue
  fi
  kill -KILL "$victim" 2>/dev/null || true
  killed=$(now)
  after=$(seconds_since "$started")
  end_of_job "$longest_end"
  took=$(seconds_since "$killed")
  if [ "$exit_code" = none ]; then
    complain "the job runs on $took s after rank $rank died: $(cat job.err)"
    break
  fi
  check_resumed
  if [ "$exit_code" -eq 0 ] && [ -n "$(hash_of out 2>/dev/null)" ]; then
    check_finished
    continue
  fi
  num_killed=$((num_killed + 1))
  # That of the rank which ended the job, or, where mpirun saw the death first, 128 + SIGKILL.
  case $exit_code in 1 | 137) ;; *) complain "exit code $exit_code of a job that lost a rank" ;; esac
  check_message "$rank" "$victim"
  check_checkpoints
  check_nothing_saved_is_lost
  slowest_end=$(awk -v a="$slowest_end" -v b="$took" 'BEGIN { print (a > b) ? a : b }')
  next=$(newest)
  echo "kill $num_killed: rank $rank/$ranks after $after s | ${phase:-unknown phase} | exit code $exit_code after $took s | $num_whole checkpoints whole | to resume from ${next:+step }${next:-the start}"
done

if [ "$lost" -eq 0 ]; then
  first_step=$(newest)
  first_step=${first_step:-0}
  start "$(settings_of 0)"
  end_of_job "$longest_job"
  check_resumed
  check_finished
fi

if [ "$lost" -eq 0 ]; then
  echo "summary: $num_killed of $kills kills passed, slowest end $slowest_end s, $num_finished jobs reached step $steps, all with parameters $reference"
  [ -n "$output" ] || rm -rf "$folder"
  exit 0
fi
echo "summary: $lost things lost after $num_killed kills, files in $folder"
exit 1
