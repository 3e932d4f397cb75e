// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the CPU. Contract: kernels/ops/cross_entropy.h.
#pragma once

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/cross_entropy.h"

namespace halfpipe::cpu {

void cross_entropy(const ops::CrossEntropy& args, ThreadPool& pool);
[[nodiscard]] std::size_t cross_entropy_scratch_bytes(const ops::CrossEntropy& args,
                                                      const ThreadPool& pool);
void cross_entropy_statistics(const ops::CrossEntropyStatistics& args, ThreadPool& pool);
void cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args, ThreadPool& pool);

}  // namespace halfpipe::cpu
