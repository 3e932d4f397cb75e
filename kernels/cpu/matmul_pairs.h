// SPDX-License-Identifier: Apache-2.0
// Matrix products of bfloat16 by products of pairs (bfloat16_pairs.h), for CPUs that have such
// instructions. What is written as bfloat16 may have 0 in place of subnormal numbers.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

void matmul_pairs(const ops::Matmul& args, ThreadPool& pool);
/// A buffer for all threads, which does not grow beyond a fixed size.
[[nodiscard]] std::size_t matmul_pairs_scratch_bytes(const ops::Matmul& args,
                                                     const ThreadPool& pool);

}  // namespace halfpipe::cpu
