#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints, as Markdown, what every schedule needs on its heaviest rank for a GPT-2-wide model of 16 blocks: planned figures,
# which the engine holds against measured ones in every run; and what a search finds for shares of 1F1B's memory. Usage: tools/memory_table.sh [path of halfpipe]
set -euo pipefail
cd "$(dirname "$0")/.."
halfpipe=${1:-build/halfpipe}

# A V or an interleaved placement has two stages per rank; 16 blocks are dealt out evenly.
blocks_per_stage() {
  local stages=$1 list=""
  for ((stage = 0; stage < stages; ++stage)); do list+="$((16 / stages)),"; done
  echo "[${list%,}]"
}

activations_of() {  # SCHEDULE|SHARE% RANKS -> bubble by span and makespan, MiB of the heaviest rank without the head and with it
  local schedule=$1 ranks=$2 stages=$2
  local settings=(--set "schedule.name=$schedule")
  case "$schedule" in
    *%) settings=(--set schedule.name=auto --set "schedule.memory_limit=$schedule") ;;
    interleaved | v-* | *-v) stages=$((2 * ranks)) ;;&
    *) settings+=(--set "parallel.layers_per_stage=$(blocks_per_stage "$stages")") ;;
  esac
  "$halfpipe" plan configs/quickstart.yaml --set data.text=LICENSE "${settings[@]}" --set parallel.pipeline="$ranks" \
    --set model.num_layers=16 --set model.hidden_size=768 --set model.num_heads=12 --set model.seq_len=1024 \
    --set train.micro_batch_size=1 --set train.global_batch_size=$((4 * ranks)) |
    awk '/^schedule/ { match($0, /bubble [0-9.]+%/); span = substr($0, RSTART + 7, RLENGTH - 7)
                       match($0, /[0-9.]+% by makespan/); makespan = substr($0, RSTART, RLENGTH - 12) }
         /^timeline/ { exit }
         /^memory/ { table = 1; next }
         table && /^  rank/ { if ($7 > alone) alone = $7; if ($6 > all) all = $6 }
         END { print span, makespan, alone, all }'
}

echo "| schedule | ranks | bubble by span | by makespan | activations, MiB | with the head | share of 1F1B |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
for ranks in 4 8; do
  read -r _ _ reference _ < <(activations_of 1f1b "$ranks")
  for schedule in gpipe 1f1b interleaved zb-1p zb-2p v-min v-half 1f1b-v v-zb 40% 50% 62.5% 75% 100%; do
    read -r span makespan alone all < <(activations_of "$schedule" "$ranks")
    share=$(awk "BEGIN { printf \"%.3f\", $alone / $reference }")
    case "$schedule" in *%) schedule="auto, $schedule" ;; *) schedule="\`$schedule\`" ;; esac
    echo "| $schedule | $ranks | $span | $makespan | $alone | $all | $share |"
  done
done
