// SPDX-License-Identifier: Apache-2.0
// Matrix products of bfloat16 by float32 arithmetic, for CPUs that have no other.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

void matmul_widened(const ops::Matmul& args, ThreadPool& pool);
/// A buffer per thread of the pool, which does not grow beyond a fixed size.
[[nodiscard]] std::size_t matmul_widened_scratch_bytes(const ops::Matmul& args,
                                                       const ThreadPool& pool);

}  // namespace halfpipe::cpu
