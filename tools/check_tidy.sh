#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# clang-tidy over the sources; every finding is an error. Usage: tools/check_tidy.sh [path prefix ...]
#   tools/check_tidy.sh                     all of kernels, parallel, engine, tools and tests
#   tools/check_tidy.sh engine/runtime parallel/schedule
set -euo pipefail
cd "$(dirname "$0")/.."
[ -f build/compile_commands.json ] || tools/build.sh --tests
prefixes=("$@")
[ $# -gt 0 ] || prefixes=(kernels parallel engine tools tests)
mapfile -t sources < <(git ls-files "${prefixes[@]/%/*.cpp}")
printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy -p build --quiet 2>/dev/null
echo "clang-tidy: ${#sources[@]} files clean"
