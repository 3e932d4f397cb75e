// SPDX-License-Identifier: Apache-2.0
// AdamW on the CPU. Contract: kernels/ops/optimizer.h.
#pragma once

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/optimizer.h"

namespace halfpipe::cpu {

void adamw(const ops::AdamW& args, ThreadPool& pool);

}  // namespace halfpipe::cpu
