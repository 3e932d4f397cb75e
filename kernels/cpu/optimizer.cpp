// SPDX-License-Identifier: Apache-2.0
// AdamW on the CPU: one pass over parameter, moments and gradient, limited by memory bandwidth.
#include "kernels/cpu/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

namespace {

// Scalars are copied out of args: as members they could alias what the loop writes.
void update(const ops::AdamW& args, std::int64_t begin, std::int64_t end) {
  float* param = args.param;
  float* m = args.m;
  float* v = args.v;
  const float* grad = args.grad;
  const float grad_scale = args.grad_scale;
  const float beta1 = args.beta1;
  const float beta2 = args.beta2;
  const float epsilon = args.epsilon;
  const float decay = args.learning_rate * args.weight_decay;
  const float learning_rate = args.learning_rate;
  const float bias_correction1 = args.bias_correction1;
  const float bias_correction2 = args.bias_correction2;
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = grad[i] * grad_scale;
    const float m_new = beta1 * m[i] + (1.0F - beta1) * g;
    const float v_new = beta2 * v[i] + (1.0F - beta2) * g * g;
    const float direction =
        m_new / bias_correction1 / (std::sqrt(v_new / bias_correction2) + epsilon);
    m[i] = m_new;
    v[i] = v_new;
    param[i] = param[i] - decay * param[i] - learning_rate * direction;
  }
}

}  // namespace

void adamw(const ops::AdamW& args, ThreadPool& pool) {
  // Parameters are copied while they are in the first-level cache.
  constexpr std::int64_t kChunk = 1024;
  for_each_element_block(pool, args.count, [&](std::int64_t begin, std::int64_t end) {
    if (args.copy_or_null == nullptr) {
      update(args, begin, end);
      return;
    }
    for (std::int64_t first = begin; first < end; first += kChunk) {
      const std::int64_t last = std::min(first + kChunk, end);
      update(args, first, last);
      convert(args.param + first, last - first, args.copy_or_null + first);
    }
  });
}

}  // namespace halfpipe::cpu
