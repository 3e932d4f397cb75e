// SPDX-License-Identifier: Apache-2.0
// Matrix products by float32 arithmetic of our own: of float32, and of bfloat16 on CPUs that do not
// multiply it.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

void matmul_blocked(const ops::Matmul& args, ThreadPool& pool);
/// A buffer per thread of the pool, which does not grow beyond a fixed size.
[[nodiscard]] std::size_t matmul_blocked_scratch_bytes(const ops::Matmul& args,
                                                       const ThreadPool& pool);

}  // namespace halfpipe::cpu
