// SPDX-License-Identifier: Apache-2.0
// GELU (tanh form) on the CPU. With t = 2 sqrt(2/pi) (x + 0.044715 x^3), 0.5 (1 + tanh(t / 2)) is
// the logistic function of t: gelu(x) = x / (1 + exp(-t)), which loses no digits where tanh is near
// -1.
#include "kernels/cpu/activation.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/reduction.h"
#include "kernels/cpu/vector_math.h"

namespace halfpipe::cpu {

namespace {

constexpr float kTwoSqrtTwoOverPi = 1.59576912F;
constexpr float kCubic = 0.044715F;
// At this |t| is 87.3: exp(t) and exp(-t) are still normal numbers. Beyond it gelu(x) is x or 0 and
// its derivative 1 or 0 in float32.
constexpr float kLargest = 10.0F;

// NaN goes through.
inline float clamp(float x) {
  return std::min(std::max(x, -kLargest), kLargest);
}

inline float gelu(float x) {
  const float c = clamp(x);
  const float t = kTwoSqrtTwoOverPi * c * (1.0F + kCubic * (c * c));
  const float numerator = x < -kLargest ? 0.0F : x;
  return numerator / (1.0F + exp_in_range(-t));
}

// gelu'(x) = s + x s (1 - s) dt/dx with s the logistic function of t. By e = exp(-|t|), which is at
// most 1, s (1 - s) = e / (1 + e)^2 on both sides of zero.
inline float gelu_derivative(float x) {
  const float c = clamp(x);
  const float square = c * c;
  const float t = kTwoSqrtTwoOverPi * c * (1.0F + kCubic * square);
  const float dt = kTwoSqrtTwoOverPi * (1.0F + 3.0F * kCubic * square);
  const float e = exp_in_range(t < 0.0F ? t : -t);
  const float s_of_abs = 1.0F / (1.0F + e);
  const float s = t < 0.0F ? e * s_of_abs : s_of_abs;
  const float derivative = s + c * dt * (e * s_of_abs * s_of_abs);
  return x < -kLargest ? 0.0F : derivative;
}

// Elements computed at a time, into a buffer: out may be an operand, and only what is written
// elsewhere can be computed in vectors without asking which case it is.
constexpr std::int64_t kChunk = 512;
using Chunk = std::array<float, kChunk>;

template <typename T>
void forward(const ops::GeluForward& args, std::int64_t begin, std::int64_t end) {
  Chunk x_buffer;
  Chunk result;
  for (std::int64_t first = begin; first < end; first += kChunk) {
    const std::int64_t count = std::min(kChunk, end - first);
    const float* x = as_floats(static_cast<const T*>(args.x) + first, count, x_buffer.data());
    for (std::int64_t i = 0; i < count; ++i) result[static_cast<std::size_t>(i)] = gelu(x[i]);
    convert(result.data(), count, static_cast<T*>(args.out) + first);
  }
}

template <typename T>
void backward_input(const ops::GeluBackwardInput& args, std::int64_t begin, std::int64_t end) {
  Chunk x_buffer;
  Chunk dout_buffer;
  Chunk result;
  for (std::int64_t first = begin; first < end; first += kChunk) {
    const std::int64_t count = std::min(kChunk, end - first);
    const float* x = as_floats(static_cast<const T*>(args.x) + first, count, x_buffer.data());
    const float* dout =
        as_floats(static_cast<const T*>(args.dout) + first, count, dout_buffer.data());
    for (std::int64_t i = 0; i < count; ++i) {
      result[static_cast<std::size_t>(i)] = dout[i] * gelu_derivative(x[i]);
    }
    convert(result.data(), count, static_cast<T*>(args.dx) + first);
  }
}

}  // namespace

void gelu_forward(const ops::GeluForward& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_element_block(pool, args.count, [&](std::int64_t begin, std::int64_t end) {
      forward<T>(args, begin, end);
    });
  });
}

void gelu_backward_input(const ops::GeluBackwardInput& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_element_block(pool, args.count, [&](std::int64_t begin, std::int64_t end) {
      backward_input<T>(args, begin, end);
    });
  });
  if (args.dbias_or_null != nullptr) column_sum(ops::column_sum_of(args), pool);
}

}  // namespace halfpipe::cpu
