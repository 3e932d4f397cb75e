// SPDX-License-Identifier: Apache-2.0
// Attention of one new position: memory traffic of the cache, read once; a task is one head.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace halfpipe::cpu {
namespace {

float dot(const float* x, const float* y, std::int64_t count) {
  Lanes sums{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sums += load(x + i) * load(y + i);
  if (i < count) sums += load(x + i, count - i) * load(y + i, count - i);
  return sum(sums);
}

/// Online softmax over blocks of keys; out holds the sum so far, not yet divided.
void decode_head(const ops::AttentionDecode& args, std::int64_t b, std::int64_t h) {
  const std::int64_t HS = args.HS;
  const std::int64_t stride = args.NH * HS;
  const std::int64_t end_key = args.position + 1;
  const float scale = 1.0F / std::sqrt(static_cast<float>(HS));
  const float* const q = args.q + b * args.q_stride + h * HS;
  float* const out = args.out + (b * args.NH + h) * HS;
  std::fill_n(out, HS, 0.0F);
  float max = -std::numeric_limits<float>::infinity();
  float total = 0.0F;
  for (std::int64_t first_key = 0; first_key < end_key; first_key += kKeyBlock) {
    const std::int64_t num_keys = std::min(kKeyBlock, end_key - first_key);
    const std::int64_t offset = (b * args.T_max + first_key) * stride + h * HS;
    float scores[kKeyBlock];
    float new_max = max;
    for (std::int64_t j = 0; j < num_keys; ++j) {
      scores[j] = scale * dot(q, args.k + offset + j * stride, HS);
      new_max = scores[j] > new_max ? scores[j] : new_max;
    }
    const float correction = exp_approx(max - new_max);
    max = new_max;
    total *= correction;
    for (std::int64_t d = 0; d < HS; ++d) out[d] *= correction;
    for (std::int64_t j = 0; j < num_keys; ++j) {
      const float weight = exp_approx(scores[j] - max);
      const float* const v = args.v + offset + j * stride;
      total += weight;
      for (std::int64_t d = 0; d < HS; ++d) out[d] += weight * v[d];
    }
  }
  for (std::int64_t d = 0; d < HS; ++d) out[d] /= total;
}

}  // namespace

void attention_decode(const ops::AttentionDecode& args, ThreadPool& pool) {
  if (args.HS == 0) return;
  pool.parallel_for(args.B * args.NH,
                    [&](std::int64_t task) { decode_head(args, task / args.NH, task % args.NH); });
}

}  // namespace halfpipe::cpu
