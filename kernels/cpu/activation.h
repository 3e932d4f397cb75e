// SPDX-License-Identifier: Apache-2.0
// GELU (tanh form) on the CPU. Contracts: kernels/ops/activation.h.
#pragma once

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/activation.h"

namespace halfpipe::cpu {

void gelu_forward(const ops::GeluForward& args, ThreadPool& pool);
void gelu_backward_input(const ops::GeluBackwardInput& args, ThreadPool& pool);

}  // namespace halfpipe::cpu
