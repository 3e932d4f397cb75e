#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Includes point one way, tools -> engine -> parallel -> kernels, and the schedules know nothing but the standard library.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
# forbid FOLDER PATTERN REASON: no file below FOLDER may include what PATTERN matches.
forbid() {
  if grep -rnE "#include [<\"]($2)" "$1" --include='*.h' --include='*.cpp'; then
    echo "halfpipe: error: the includes above break a rule: $3" >&2
    failed=1
  fi
}
forbid kernels 'parallel/|engine/|tools/' 'kernels/ includes nothing above it'
forbid parallel 'engine/|tools/' 'parallel/ includes nothing above it'
forbid engine 'tools/' 'engine/ includes nothing above it'
forbid parallel/schedule 'kernels/|parallel/transport|fmt/|nlohmann/' 'parallel/schedule is pure'
if grep -rlE '#include <yaml-cpp' --include='*.h' --include='*.cpp' kernels parallel engine tools | grep -v '^engine/config/'; then
  echo "halfpipe: error: only engine/config knows yaml-cpp" >&2
  failed=1
fi
if grep -rlE '#include <mpi.h>' --include='*.h' --include='*.cpp' kernels parallel engine tools | grep -v '/mpi_[a-z_]*\.'; then
  echo "halfpipe: error: MPI is included in mpi_* files only" >&2
  failed=1
fi
[ "$failed" -eq 0 ] && echo "layers: clean"
exit "$failed"
