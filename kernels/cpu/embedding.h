// SPDX-License-Identifier: Apache-2.0
// Token plus position embedding on the CPU. Contracts: kernels/ops/embedding.h.
#pragma once

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/embedding.h"

namespace halfpipe::cpu {

void embedding_forward(const ops::EmbeddingForward& args, ThreadPool& pool);
void embedding_backward_weight(const ops::EmbeddingBackwardWeight& args, ThreadPool& pool);

}  // namespace halfpipe::cpu
