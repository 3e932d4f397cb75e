#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Includes point one way, tools -> engine -> parallel -> kernels, the schedules know nothing but the standard library,
# and what a backend or a transport is made of stays in its own files.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
sources=(--include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh')
# forbid FOLDER PATTERN REASON: no file below FOLDER may include what PATTERN matches.
forbid() {
  if grep -rnE "#include [<\"]($2)" "$1" "${sources[@]}"; then
    echo "halfpipe: error: the includes above break a rule: $3" >&2
    failed=1
  fi
}
forbid kernels 'parallel/|engine/|tools/' 'kernels/ includes nothing above it'
forbid parallel 'engine/|tools/' 'parallel/ includes nothing above it'
forbid engine 'tools/' 'engine/ includes nothing above it'
runtime='engine/runtime/'
forbid ${runtime}ranks "$runtime([a-z_]*\\.h|step|state|planning|training)" 'engine/runtime/ranks includes no other folder of the runtime'
forbid ${runtime}step "$runtime([a-z_]*\\.h|state|planning|training)" 'engine/runtime/step includes ranks alone'
forbid ${runtime}state "$runtime([a-z_]*\\.h|planning|training)" 'engine/runtime/state includes ranks and step alone'
forbid ${runtime}planning "$runtime([a-z_]*\\.h|training)" 'plans know nothing of who runs them'
if grep -nE "#include \"${runtime}training" ${runtime}*.h ${runtime}*.cpp; then
  echo "halfpipe: error: one rank's runtime includes nothing of engine/runtime/training" >&2
  failed=1
fi
forbid parallel/schedule 'kernels/|parallel/transport|fmt/|nlohmann/' 'parallel/schedule is pure'
if grep -rlE '#include <yaml-cpp' "${sources[@]}" kernels parallel engine tools | grep -v '^engine/config/'; then
  echo "halfpipe: error: only engine/config knows yaml-cpp" >&2
  failed=1
fi
if grep -rlE '#include <mpi.h>' "${sources[@]}" kernels parallel engine tools | grep -v '/mpi_[a-z_]*\.'; then
  echo "halfpipe: error: MPI is included in mpi_* files only" >&2
  failed=1
fi
if grep -rlE '#include <(cuda|cublas|cudnn|nccl|nvtx|cooperative_groups|mma)' "${sources[@]}" kernels parallel engine tools |
  grep -vE '^(kernels/cuda/|parallel/transport/nccl_|tools/bench/cuda_)'; then
  echo "halfpipe: error: CUDA is included in kernels/cuda/, in nccl_* files and in benchmarks of kernels only" >&2
  failed=1
fi
[ "$failed" -eq 0 ] && echo "layers: clean"
exit "$failed"
