// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the CPU: one row per step, three walks over it while it is in
// the second-level cache (a row of 50257 logits takes 200 kB).
#include "kernels/cpu/cross_entropy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace halfpipe::cpu {

namespace {

// Exponentials computed at a time; they stay in the first-level cache until they are summed.
constexpr std::int64_t kChunk = 512;

float largest(const float* x, std::int64_t V) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  Lanes best = kLowest - Lanes{};
  for (std::int64_t v = 0; v < V; v += kLanes) {
    const Lanes value = load(x + v, V - v, /*fill=*/kLowest);
    best =
        value > best ? value : best;  // a NaN is passed over; it shows in the sum of exponentials
  }
  float result = kLowest;
  for (std::int64_t i = 0; i < kLanes; ++i) result = std::max(result, best[i]);
  return result;
}

// Float64 lanes: a probability near 1 leaves the other exponentials with their full precision, so
// small losses are as accurate as large ones.
struct Float64Lanes {
  std::array<double, kLanes> lane{};

  void add(const float* x, std::int64_t count) {
    const std::int64_t full = count - count % kLanes;
    for (std::int64_t v = 0; v < full; v += kLanes) {
      for (std::int64_t i = 0; i < kLanes; ++i) lane[static_cast<std::size_t>(i)] += x[v + i];
    }
    for (std::int64_t v = full; v < count; ++v) lane[static_cast<std::size_t>(v - full)] += x[v];
  }

  [[nodiscard]] double sum() const {
    double total = 0.0;
    for (const double value : lane) total += value;
    return total;
  }
};

void row(const ops::CrossEntropy& args, std::int64_t n) {
  const std::int64_t V = args.V;
  float* logits = args.logits + n * V;
  const std::int32_t target = args.targets[n];
  const bool wants_gradient = args.scale != 0.0F;

  const float shift = largest(logits, V);
  const float target_logit = logits[target];
  Float64Lanes lanes;
  std::array<float, kChunk> buffer;
  for (std::int64_t v = 0; v < V; v += kChunk) {
    const std::int64_t count = std::min(kChunk, V - v);
    for (std::int64_t i = 0; i < count; ++i) {
      buffer[static_cast<std::size_t>(i)] = exp_approx(logits[v + i] - shift);
    }
    lanes.add(buffer.data(), count);
    if (wants_gradient) std::copy_n(buffer.data(), count, logits + v);
  }
  const double total = lanes.sum();
  args.losses[n] =
      static_cast<float>(std::log(total) + (static_cast<double>(shift) - target_logit));
  if (!wants_gradient) return;

  const double scale = args.scale;
  const auto factor = static_cast<float>(scale / total);
  // From the sum without the target, so that the digits of 1 - p survive where p is near 1.
  const double rest = total - logits[target];
  for (std::int64_t v = 0; v < V; ++v) logits[v] *= factor;
  logits[target] = static_cast<float>(-scale * (rest / total));
}

}  // namespace

void cross_entropy(const ops::CrossEntropy& args, ThreadPool& pool) {
  for_each_row_block(pool, args.N, args.V, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) row(args, n);
  });
}

}  // namespace halfpipe::cpu
