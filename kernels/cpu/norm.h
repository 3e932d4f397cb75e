// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the CPU. Contracts: kernels/ops/norm.h.
#pragma once

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/norm.h"

namespace halfpipe::cpu {

void layer_norm_forward(const ops::LayerNormForward& args, ThreadPool& pool);
void layer_norm_backward_input(const ops::LayerNormBackwardInput& args, ThreadPool& pool);
void layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args, ThreadPool& pool);

}  // namespace halfpipe::cpu
