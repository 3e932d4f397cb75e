// SPDX-License-Identifier: Apache-2.0
// Matrix products by oneDNN's matmul primitive, a single-threaded one for each tile. For bfloat16
// on CPUs that multiply it, where matmul_pairs.h is not taken; in float32 it is a second way, for
// tests.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

void matmul_primitive(const ops::Matmul& args, ThreadPool& pool);
/// A buffer per thread of the pool, which does not grow with M and N.
[[nodiscard]] std::size_t matmul_primitive_scratch_bytes(const ops::Matmul& args,
                                                         const ThreadPool& pool);

}  // namespace halfpipe::cpu
