#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a trained model: installs what is missing, builds, trains on four pipeline ranks, lets the model write.
# Usage: tools/quickstart.sh [CONFIG] [--set key=value ...]
#   tools/quickstart.sh
#   tools/quickstart.sh configs/quickstart.yaml --set train.steps=20 --set output.dir=runs/short
set -euo pipefail

invoked_from=$PWD
cd "$(dirname "$0")/.."
case "${1:-}" in
  -h | --help)
    sed -n '3,6s/^# //p' "$0"
    exit 0
    ;;
esac

config=configs/quickstart.yaml
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
  config=$1
  [ -e "$config" ] || config=$invoked_from/$1
  shift
fi

tools/install_packages.sh
tools/build.sh halfpipe
. tools/mpi_environment.sh

# The configuration says how many ranks it wants and where its output goes.
ranks=$(build/halfpipe config "$config" "$@" --get parallel.pipeline)
output=$(build/halfpipe config "$config" "$@" --get output.dir)

resume=()
if [ -e "$output/checkpoints/latest" ]; then
  echo "train: $output holds an earlier run, going on with it; delete it to start anew"
  resume=(--resume auto)
fi
train=(build/halfpipe train "$config" "$@" ${resume[@]+"${resume[@]}"})

echo "train: mpirun -n $ranks ${train[*]}"
mpirun -n "$ranks" --oversubscribe --bind-to none "${train[@]}"
echo "generate: build/halfpipe generate $output"
build/halfpipe generate "$output" --prompt $'  template<typename _Tp>\n' --tokens 500
