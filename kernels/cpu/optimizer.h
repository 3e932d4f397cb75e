// SPDX-License-Identifier: Apache-2.0
// AdamW on the CPU. Contract: kernels/ops/optimizer.h.
#pragma once

#include <span>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/optimizer.h"

namespace halfpipe::cpu {

void adamw(const ops::AdamW& args, ThreadPool& pool);
/// One after another.
void adamw_pieces(std::span<const ops::AdamW> pieces, ThreadPool& pool);

}  // namespace halfpipe::cpu
