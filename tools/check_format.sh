#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every C++ and CUDA file is formatted as .clang-format says, and every source file names its licence.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')
clang-format --dry-run --Werror "${sources[@]}"
mapfile -t licensed < <(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' '*.sh' '*.py' '*.cmake' '*CMakeLists.txt')
missing=$(grep -L 'SPDX-License-Identifier: Apache-2.0' "${licensed[@]}" || true)
if [ -n "$missing" ]; then
  echo "halfpipe: error: no licence line in: $missing" >&2
  exit 1
fi
echo "format: ${#sources[@]} files clean"
