#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configures and builds Release in build/. Usage: build.sh [--tests] [target ...]
set -euo pipefail
cd "$(dirname "$0")/.."

tests=OFF
targets=()
for argument in "$@"; do
  case "$argument" in
    --tests) tests=ON ;;
    *) targets+=("$argument") ;;
  esac
done
# A tree that was configured with tests keeps them: switching back and forth would only rebuild.
if [ "$tests" = OFF ] && grep -qs '^HALFPIPE_TESTS:BOOL=ON$' build/CMakeCache.txt; then tests=ON; fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "build: configuring build/ (Release)"
if ! cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DHALFPIPE_TESTS="$tests" >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
echo "build: compiling"
if ! cmake --build build ${targets[@]+--target "${targets[@]}"} >"$log" 2>&1; then
  tail -n 60 "$log" >&2
  echo "halfpipe: error: the build failed (its last lines are above)" >&2
  exit 1
fi
