// SPDX-License-Identifier: Apache-2.0
// AdamW on the GPU: one pass over parameter, moments and gradient, limited by memory bandwidth.
#include "kernels/cuda/optimizer.h"

#include <cmath>

#include "kernels/cuda/element_loop.cuh"

namespace halfpipe::cuda {

namespace {

template <bool kWithCopy>
struct AdamWLoop {
  static constexpr int kWidth = 8;  // one 16-byte access of the bfloat16 copy
  static constexpr int kGroups = 1;
  static constexpr int kInputs = 4;
  ops::AdamW args;

  template <int kCount>
  __device__ void load(std::int64_t at, float (&operands)[4][kCount]) const {
    load_group(operands[0], args.param + at);
    load_group(operands[1], args.m + at);
    load_group(operands[2], args.v + at);
    load_group(operands[3], args.grad + at);
  }

  template <int kCount>
  __device__ void store(std::int64_t at, const float (&operands)[4][kCount]) const {
    float param[kCount];
    float m[kCount];
    float v[kCount];
    const float decay = args.learning_rate * args.weight_decay;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float g = operands[3][i] * args.grad_scale;
      m[i] = args.beta1 * operands[1][i] + (1.0F - args.beta1) * g;
      v[i] = args.beta2 * operands[2][i] + (1.0F - args.beta2) * g * g;
      const float direction =
          m[i] / args.bias_correction1 / (sqrtf(v[i] / args.bias_correction2) + args.epsilon);
      param[i] = operands[0][i] - decay * operands[0][i] - args.learning_rate * direction;
    }
    store_group(args.param + at, param);
    store_group(args.m + at, m);
    store_group(args.v + at, v);
    if constexpr (kWithCopy) store_group(args.copy_or_null + at, param);
  }
};

}  // namespace

// -------------------------------------------------------------------------------------------------

void adamw(const ops::AdamW& args, cudaStream_t stream) {
  const bool aligned = vector_aligned({args.param, args.m, args.v, args.grad, args.copy_or_null});
  if (args.copy_or_null != nullptr) {
    for_each_element(AdamWLoop<true>{args}, args.count, aligned, stream);
  } else {
    for_each_element(AdamWLoop<false>{args}, args.count, aligned, stream);
  }
}

}  // namespace halfpipe::cuda
