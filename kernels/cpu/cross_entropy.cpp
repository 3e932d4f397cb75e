// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the CPU: one row per step, three walks over it while it is in
// the second-level cache (a row of 50257 logits takes 200 kB).
#include "kernels/cpu/cross_entropy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace halfpipe::cpu {

namespace {

// Exponentials computed at a time; they stay in the first-level cache until they are summed.
constexpr std::int64_t kChunk = 512;
using Chunk = std::array<float, kChunk>;

template <typename T>
float largest(const T* x, std::int64_t V) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  Lanes best(kLowest);
  // A NaN is passed over; it shows in the sum of exponentials.
  for_each_lanes(0, V, [&](std::int64_t v, auto width) {
    best = greater_of(load(x + v, width, kLowest), best);
  });
  std::array<float, kLanes> lanes;
  store(lanes.data(), best);
  return *std::ranges::max_element(lanes);
}

// exponentials[i] = exp(logits[i] - shift)
template <typename T>
void exponentiate(const T* logits, std::int64_t count, float shift, Chunk& exponentials) {
  Chunk buffer;
  const float* x = as_floats(logits, count, buffer.data());
  for (std::int64_t i = 0; i < count; ++i) {
    exponentials[static_cast<std::size_t>(i)] = exp_approx(x[i] - shift);
  }
}

// Exponentials take the place of float32 logits until their sum is there. In bfloat16 they would be
// rounded there, so they are computed once more.
template <typename T>
constexpr bool kKeepsExponentials = std::is_same_v<T, float>;

// In float64: a probability near 1 leaves the other exponentials with their full precision, so
// small losses are as accurate as large ones.
template <typename T>
double sum_exponentials(T* logits, std::int64_t V, float shift, bool wants_gradient) {
  Float64Lanes lanes;
  Chunk buffer;
  for (std::int64_t v = 0; v < V; v += kChunk) {
    const std::int64_t count = std::min(kChunk, V - v);
    exponentiate(logits + v, count, shift, buffer);
    for_each_lanes(0, count,
                   [&](std::int64_t i, auto width) { lanes.add(load(buffer.data() + i, width)); });
    if (kKeepsExponentials<T> && wants_gradient) convert(buffer.data(), count, logits + v);
  }
  return lanes.sum();
}

// logits[v] = exp(logits[v] - shift) * factor
template <typename T>
void write_probabilities(T* logits, std::int64_t V, float shift, float factor) {
  Chunk buffer;
  for (std::int64_t v = 0; v < V; v += kChunk) {
    const std::int64_t count = std::min(kChunk, V - v);
    const float* exponentials = buffer.data();
    if constexpr (kKeepsExponentials<T>) {
      exponentials = logits + v;
    } else {
      exponentiate(logits + v, count, shift, buffer);
    }
    for_each_lanes(0, count, [&](std::int64_t i, auto width) {
      store(logits + v + i, load(exponentials + i, width) * factor, width);
    });
  }
}

template <typename T>
void row(const ops::CrossEntropy& args, std::int64_t n) {
  T* logits = static_cast<T*>(args.logits) + n * args.V;
  const std::int32_t target = args.targets[n];
  const bool wants_gradient = args.scale != 0.0F;

  const float shift = largest(logits, args.V);
  const float target_logit = to_float(logits[target]);
  const double total = sum_exponentials(logits, args.V, shift, wants_gradient);
  args.losses[n] =
      static_cast<float>(std::log(total) + (static_cast<double>(shift) - target_logit));
  if (!wants_gradient) return;

  const double scale = args.scale;
  write_probabilities(logits, args.V, shift, static_cast<float>(scale / total));
  // From the sum without the target, so that the digits of 1 - p survive where p is near 1.
  const double rest = total - exp_approx(target_logit - shift);
  const auto dtarget = static_cast<float>(-scale * (rest / total));
  convert(&dtarget, 1, logits + target);
}

}  // namespace

void cross_entropy(const ops::CrossEntropy& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_row_block(pool, args.N, args.V, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) row<T>(args, n);
    });
  });
}

}  // namespace halfpipe::cpu
