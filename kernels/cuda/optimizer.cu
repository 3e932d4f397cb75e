// SPDX-License-Identifier: Apache-2.0
// AdamW on the GPU: one pass over parameter, moments and gradient, limited by memory bandwidth.
#include "kernels/cuda/optimizer.h"

#include <cmath>
#include <type_traits>

#include "kernels/core/stochastic_rounding.h"
#include "kernels/cuda/element_loop.cuh"

namespace halfpipe::cuda {

namespace {

// The random words of elements first, first + 1, ...: of whole groups, or of one element.
template <int kCount>
__device__ __forceinline__ void draw_words(std::uint32_t (&words)[kCount],
                                           const RoundingStream& stream,
                                           std::int64_t first) {
  const std::uint64_t group = static_cast<std::uint64_t>(first) / kRoundingGroup;
  if constexpr (kCount == 1) {
    const auto drawn = rounding_words(stream, group);
    const auto place = static_cast<std::uint32_t>(first) % kRoundingGroup;
    // By comparisons: an array with an index that is not known lies in local memory.
    words[0] = place < 2 ? (place == 0 ? drawn[0] : drawn[1]) : (place == 2 ? drawn[2] : drawn[3]);
  } else {
    static_assert(kCount % kRoundingGroup == 0);
#pragma unroll
    for (int at = 0; at < kCount; at += kRoundingGroup) {
      const auto drawn = rounding_words(stream, group + at / kRoundingGroup);
#pragma unroll
      for (int i = 0; i < kRoundingGroup; ++i) words[at + i] = drawn[i];
    }
  }
}

// One rounding for each operation that is written, so that a step which is only shown has the bits
// of the one that is taken, whatever else is compiled around it.
struct Stepped {
  float param, m, v;
};

__device__ __forceinline__ Stepped
step_of(const ops::AdamW& args, float param, float m, float v, float grad) {
  const float g = __fmul_rn(grad, args.grad_scale);
  Stepped next{};
  next.m = fmaf(args.beta1, m, __fmul_rn(1.0F - args.beta1, g));
  next.v = fmaf(args.beta2, v, __fmul_rn(__fmul_rn(1.0F - args.beta2, g), g));
  const float root = __fadd_rn(sqrtf(next.v / args.bias_correction2), args.epsilon);
  const float direction = next.m / args.bias_correction1 / root;
  const float decayed = fmaf(-__fmul_rn(args.learning_rate, args.weight_decay), param, param);
  next.param = fmaf(-args.learning_rate, direction, decayed);
  return next;
}

template <typename Moment, bool kWithCopy, ops::AdamWWrites kWrites>
struct AdamWLoop {
  static constexpr int kWidth = 8;  // one 16-byte access of bfloat16
  static constexpr int kGroups = 1;
  static constexpr int kInputs = 4;
  ops::AdamW args;

  template <int kCount>
  __device__ void load(std::int64_t at, float (&operands)[4][kCount]) const {
    load_group(operands[0], args.from_or_null + at);
    load_group(operands[1], static_cast<const Moment*>(args.m) + at);
    load_group(operands[2], static_cast<const Moment*>(args.v) + at);
    load_group(operands[3], args.grad + at);
  }

  template <int kCount>
  __device__ void store(std::int64_t at, const float (&operands)[4][kCount]) const {
    float param[kCount];
    float m[kCount];
    float v[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const Stepped next =
          step_of(args, operands[0][i], operands[1][i], operands[2][i], operands[3][i]);
      param[i] = next.param;
      m[i] = next.m;
      v[i] = next.v;
    }
    using enum ops::AdamWWrites;
    if constexpr (kWrites == kAll) {
      if constexpr (std::is_same_v<Moment, BFloat16>) round(at, m, v);
      store_group(static_cast<Moment*>(args.m) + at, m);
      store_group(static_cast<Moment*>(args.v) + at, v);
    }
    if constexpr (kWrites != kCopy) store_group(args.param + at, param);
    if constexpr (kWithCopy) store_group(args.copy_or_null + at, param);
  }

  // To what bfloat16 has, so that storing changes nothing more.
  template <int kCount>
  __device__ void round(std::int64_t at, float (&m)[kCount], float (&v)[kCount]) const {
    std::uint32_t words[kCount];
    draw_words(words, args.rounding, args.first_element + at);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      m[i] = to_float(round_stochastically(m[i], words[i] & 0xffffU));
      v[i] = to_float(round_stochastically(v[i], words[i] >> 16));
    }
  }
};

template <typename Moment, ops::AdamWWrites kWrites>
void adamw_with(const ops::AdamW& args, bool aligned, cudaStream_t stream) {
  if (args.copy_or_null != nullptr) {
    for_each_element(AdamWLoop<Moment, true, kWrites>{args}, args.count, aligned, stream);
  } else {
    for_each_element(AdamWLoop<Moment, false, kWrites>{args}, args.count, aligned, stream);
  }
}

}  // namespace

// -------------------------------------------------------------------------------------------------

void adamw(const ops::AdamW& in_place, cudaStream_t stream) {
  ops::AdamW args = in_place;
  if (args.from_or_null == nullptr) args.from_or_null = args.param;
  // A thread's elements must be whole groups of the random words, too.
  const bool aligned = vector_aligned({args.param, args.m, args.v, args.grad, args.copy_or_null,
                                       args.from_or_null}) &&
                       args.first_element % kRoundingGroup == 0;
  with_element_type(args.moment_dtype, [&]<typename Moment>() {
    using enum ops::AdamWWrites;
    switch (args.writes) {
      case kAll:
        return adamw_with<Moment, kAll>(args, aligned, stream);
      case kParam:
        return adamw_with<Moment, kParam>(args, aligned, stream);
      case kCopy:
        return adamw_with<Moment, kCopy>(args, aligned, stream);
    }
  });
}

}  // namespace halfpipe::cuda
