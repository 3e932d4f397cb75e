// SPDX-License-Identifier: Apache-2.0
// Matrix products of float32 by oneDNN, one single-threaded call for each tile.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

void matmul_library(const ops::Matmul& args, ThreadPool& pool);
/// None. dnnl_sgemm takes a packing buffer of 72 KiB to 1.2 MiB for each tile and gives it back;
/// nothing of it can be provided by the caller. Its matmul primitives do not help float32: with a
/// scratchpad of the caller's an execution still made 5 to 8 heap calls, and ran at 0.93 to 0.98 of
/// the speed.
[[nodiscard]] inline std::size_t matmul_library_scratch_bytes(const ops::Matmul& /*args*/,
                                                              const ThreadPool& /*pool*/) {
  return 0;
}

}  // namespace halfpipe::cpu
