// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the CPU: one row per step, three walks over it and its
// exponentials while they are in the second-level cache (those of 50257 logits take 200 kB).
#include "kernels/cpu/cross_entropy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/core/align.h"
#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace halfpipe::cpu {

namespace {

// Exponentials computed at a time; they stay in the first-level cache until they are summed.
constexpr std::int64_t kChunk = 512;
using Chunk = std::array<float, kChunk>;
// Lanes whose exponentials are added in float32 before they are added to the rest in float64.
constexpr std::int64_t kLanesOfAddend = 4;
static_assert(kChunk % (kLanesOfAddend * kLanes) == 0);

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

// exponentials[i] = exp(logits[i] - shift); no logit is above shift.
template <typename T>
void exponentiate(const T* logits, std::int64_t count, float shift, float* exponentials) {
  Chunk buffer;
  const float* x = as_floats(logits, count, buffer.data());
  for (std::int64_t i = 0; i < count; ++i) exponentials[i] = exp_below(x[i] - shift);
}

// The sum over a chunk, in the order that add() of `lanes` and kLanesOfAddend give it.
void add_exponentials(const float* exponentials, std::int64_t count, Float64Lanes& lanes) {
  std::int64_t i = 0;
  for (; i + kLanesOfAddend * kLanes <= count; i += kLanesOfAddend * kLanes) {
    Lanes addend = load_all(exponentials + i);
    for (std::int64_t j = 1; j < kLanesOfAddend; ++j) {
      addend += load_all(exponentials + i + j * kLanes);
    }
    lanes.add(addend);
  }
  for_each_lanes(i, count,
                 [&](std::int64_t k, auto width) { lanes.add(load(exponentials + k, width)); });
}

// Of a row: the exponential of the target, and the sum of all others in float64, where a
// probability near 1 leaves the others with their full precision: small losses are as accurate as
// large ones.
struct RowSums {
  float target;
  double rest;
};

// exponentials[v] = exp(logits[v] - shift), which cost too much to be computed twice, but 0 for the
// target.
template <typename T>
RowSums sum_exponentials(
    const T* logits, std::int64_t V, float shift, std::int64_t target, float* exponentials) {
  RowSums sums{0.0F, 0.0};
  Float64Lanes lanes;
  for (std::int64_t v = 0; v < V; v += kChunk) {
    const std::int64_t count = std::min(kChunk, V - v);
    exponentiate(logits + v, count, shift, exponentials + v);
    if (target >= v && target < v + count) {
      sums.target = std::exchange(exponentials[target], 0.0F);
    }
    add_exponentials(exponentials + v, count, lanes);
  }
  sums.rest = lanes.sum();
  return sums;
}

// exponentials: room for V of them.
template <typename T>
void row(const ops::CrossEntropy& args, std::int64_t n, float* exponentials) {
  T* logits = static_cast<T*>(args.logits) + n * args.V;
  const std::int32_t target = args.targets[n];
  const float shift = largest(logits, args.V);
  const float target_logit = to_float(logits[target]);
  const RowSums sums = sum_exponentials(logits, args.V, shift, target, exponentials);
  const double total = sums.rest + sums.target;
  args.losses[n] =
      static_cast<float>(std::log(total) + (static_cast<double>(shift) - target_logit));
  if (args.scale == 0.0F) return;

  const double scale = args.scale;
  const auto factor = static_cast<float>(scale / total);
  for_each_lanes(0, args.V, [&](std::int64_t v, auto width) {
    store(logits + v, load(exponentials + v, width) * factor, width);
  });
  // From the sum without the target, so that the digits of 1 - p survive where p is near 1.
  const auto dtarget = static_cast<float>(-scale * (sums.rest / total));
  convert(&dtarget, 1, logits + target);
}

// Of a thread.
std::int64_t floats_per_thread(std::int64_t V) {
  return round_up(V, static_cast<std::int64_t>(kTensorAlignment / sizeof(float)));
}

// Of a row of one slice, as they lie in memory.
struct Statistics {
  float largest;
  float sum;  // without the target
  float target_logit;
};

template <typename T>
Statistics statistics_of_row(const T* logits, std::int64_t V, std::int64_t target) {
  Statistics result{largest(logits, V), 0.0F, -std::numeric_limits<float>::infinity()};
  if (target >= 0 && target < V) result.target_logit = to_float(logits[target]);
  // Logits of -inf alone: 0 each, not exp(-inf + inf).
  const float shift = std::isinf(result.largest) ? 0.0F : result.largest;
  Float64Lanes lanes;
  Chunk buffer;
  for (std::int64_t v = 0; v < V; v += kChunk) {
    const std::int64_t count = std::min(kChunk, V - v);
    exponentiate(logits + v, count, shift, buffer.data());
    if (target >= v && target < v + count) buffer[static_cast<std::size_t>(target - v)] = 0.0F;
    add_exponentials(buffer.data(), count, lanes);
  }
  result.sum = static_cast<float>(lanes.sum());
  return result;
}

// A row of the whole vocabulary, in the same units: exp(x - shift).
struct RowSoftmax {
  float shift;
  float target_logit;
  double rest;  // the sum without the target
  double total;
};

RowSoftmax combine(const float* statistics, std::int64_t num_slices, std::int64_t row_stride) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  RowSoftmax row{kNone, kNone, 0.0, 0.0};
  for (std::int64_t k = 0; k < num_slices; ++k) {
    const float* of_slice = statistics + k * row_stride;
    if (of_slice[0] > row.shift) row.shift = of_slice[0];
    if (of_slice[2] != kNone) row.target_logit = of_slice[2];  // a NaN is one, too
  }
  for (std::int64_t k = 0; k < num_slices; ++k) {
    const float* of_slice = statistics + k * row_stride;
    row.rest += of_slice[1] * std::exp(static_cast<double>(of_slice[0]) - row.shift);
  }
  row.total = row.rest + std::exp(static_cast<double>(row.target_logit) - row.shift);
  return row;
}

template <typename T>
void row_of_slice(const ops::CrossEntropyOfSlice& args, std::int64_t n) {
  const RowSoftmax row = combine(args.statistics + n * 3, args.num_slices, args.N * 3);
  args.losses[n] =
      static_cast<float>(std::log(row.total) + (static_cast<double>(row.shift) - row.target_logit));
  if (args.scale == 0.0F) return;

  T* logits = static_cast<T*>(args.logits) + n * args.stride;
  const double scale = args.scale;
  const auto factor = static_cast<float>(scale / row.total);
  Chunk buffer;
  for (std::int64_t v = 0; v < args.V; v += kChunk) {
    const std::int64_t count = std::min(kChunk, args.V - v);
    exponentiate(logits + v, count, row.shift, buffer.data());
    for_each_lanes(0, count, [&](std::int64_t i, auto width) {
      store(logits + v + i, load(buffer.data() + i, width) * factor, width);
    });
  }
  std::fill(logits + args.V, logits + args.stride, T{});
  const std::int64_t target = args.targets[n] - args.first_id;
  if (target < 0 || target >= args.V) return;
  const auto dtarget = static_cast<float>(-scale * (row.rest / row.total));
  convert(&dtarget, 1, logits + target);
}

}  // namespace

void cross_entropy(const ops::CrossEntropy& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_row_block(pool, args.N, args.V, [&](std::int64_t begin, std::int64_t end) {
      float* const exponentials = static_cast<float*>(args.scratch) +
                                  ThreadPool::thread_index() * floats_per_thread(args.V);
      for (std::int64_t n = begin; n < end; ++n) row<T>(args, n, exponentials);
    });
  });
}

std::size_t cross_entropy_scratch_bytes(const ops::CrossEntropy& args, const ThreadPool& pool) {
  return static_cast<std::size_t>(pool.num_threads() * floats_per_thread(args.V)) * sizeof(float);
}

void cross_entropy_statistics(const ops::CrossEntropyStatistics& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    const T* logits = static_cast<const T*>(args.logits);
    for_each_row_block(pool, args.N, args.V, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const Statistics of_row =
            statistics_of_row(logits + n * args.stride, args.V, args.targets[n] - args.first_id);
        float* statistics = args.statistics + n * 3;
        statistics[0] = of_row.largest;
        statistics[1] = of_row.sum;
        statistics[2] = of_row.target_logit;
      }
    });
  });
}

void cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_row_block(pool, args.N, args.stride, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) row_of_slice<T>(args, n);
    });
  });
}

}  // namespace halfpipe::cpu
