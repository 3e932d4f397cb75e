// SPDX-License-Identifier: Apache-2.0
// Matrix products on the CPU. Contract: kernels/ops/matmul.h.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

void matmul(const ops::Matmul& args, ThreadPool& pool);
/// A buffer per thread of the pool.
[[nodiscard]] std::size_t matmul_scratch_bytes(const ops::Matmul& args, const ThreadPool& pool);

}  // namespace halfpipe::cpu
