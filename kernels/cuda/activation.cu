// SPDX-License-Identifier: Apache-2.0
// GELU (tanh form) on the GPU. With t = 2 sqrt(2/pi) (x + 0.044715 x^3), 0.5 (1 + tanh(t / 2)) is
// the logistic function of t: gelu(x) = x / (1 + exp(-t)), which loses no digits where tanh is near
// -1. Powers of two and fast division (2 ulp each) instead of exp and `/`: half the instructions.
#include "kernels/cuda/activation.h"

#include <cmath>

#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/element_loop.cuh"

namespace halfpipe::cuda {

namespace {

constexpr float kTwoSqrtTwoOverPi = 1.59576912F;
constexpr float kCubic = 0.044715F;
// Beyond this the derivative is 1 or 0 in float32. Polynomials of the clamped x cannot overflow, so
// no 0 * inf arises.
constexpr float kLargest = 12.0F;

// t in units of ln 2: exp(t) is exp2 of this.
__device__ __forceinline__ float binary_exponent(float x) {
  constexpr float kFactor = 2.30220820F;  // 2 sqrt(2/pi) log2(e)
  return kFactor * x * (1.0F + kCubic * (x * x));
}

__device__ __forceinline__ float gelu(float x) {
  return __fdividef(x, 1.0F + exp2f(-binary_exponent(x)));
}

// gelu'(x) = s + x s (1 - s) dt/dx with s the logistic function of t. By e = exp(-|t|), which is at
// most 1, s (1 - s) = e / (1 + e)^2 on both sides of zero.
__device__ __forceinline__ float gelu_derivative(float x) {
  // Not fminf and fmaxf, which drop NaN.
  const float below = x > kLargest ? kLargest : x;
  const float c = below < -kLargest ? -kLargest : below;
  const float e = exp2f(-fabsf(binary_exponent(c)));
  const float s_of_abs = __fdividef(1.0F, 1.0F + e);
  const float s = c < 0.0F ? e * s_of_abs : s_of_abs;
  const float dt = kTwoSqrtTwoOverPi * (1.0F + 3.0F * kCubic * (c * c));
  return s + c * dt * (e * s_of_abs * s_of_abs);
}

template <typename T>
struct GeluForwardLoop {
  static constexpr int kWidth = kPerVector<T>;
  static constexpr int kGroups = 2;
  static constexpr int kInputs = 1;
  T* out;
  const T* x;

  template <int kCount>
  __device__ void load(std::int64_t at, float (&operands)[1][kCount]) const {
    load_group(operands[0], x + at);
  }
  template <int kCount>
  __device__ void store(std::int64_t at, const float (&operands)[1][kCount]) const {
    float result[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) result[i] = gelu(operands[0][i]);
    store_group(out + at, result);
  }
};

template <typename T>
struct GeluBackwardInputLoop {
  static constexpr int kWidth = kPerVector<T>;
  static constexpr int kGroups = 2;
  static constexpr int kInputs = 2;
  T* dx;
  const T* dout;
  const T* x;

  template <int kCount>
  __device__ void load(std::int64_t at, float (&operands)[2][kCount]) const {
    load_group(operands[0], dout + at);
    load_group(operands[1], x + at);
  }
  template <int kCount>
  __device__ void store(std::int64_t at, const float (&operands)[2][kCount]) const {
    float result[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) result[i] = operands[0][i] * gelu_derivative(operands[1][i]);
    store_group(dx + at, result);
  }
};

__device__ __forceinline__ float stored(float value, const float* /*type*/) {
  return value;
}
__device__ __forceinline__ float stored(float value, const BFloat16* /*type*/) {
  return widen(round_to_bits(value));
}

// Rows of dx for the sums of its columns, each written where it is added.
template <typename T, int kColumnsOfThread>
struct GeluBackwardTerms {
  using Element = T;
  static constexpr int kWidth = kColumnsOfThread;
  static constexpr int kSums = 1;
  static constexpr int kBlocksPerSm = 2;  // two arrays of four rows at a time
  struct Row {
    std::int64_t at;
    float dout[kWidth];
    float x[kWidth];
  };
  T* dx;
  const T* dout;
  const T* x;
  std::int64_t C;

  __device__ __forceinline__ void load(std::int64_t n, std::int64_t c, Row& row) const {
    row.at = n * C + c;
    load_group(row.dout, dout + row.at);
    load_group(row.x, x + row.at);
  }
  __device__ __forceinline__ void add(const Row& row, float (&sums)[kSums][kWidth]) const {
    float result[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      // Not one multiply-add with the sum: what is added is what is stored.
      result[i] = __fmul_rn(row.dout[i], gelu_derivative(row.x[i]));
      sums[0][i] += stored(result[i], dx);
    }
    store_group(dx + row.at, result);
  }
};

template <typename T, int kWidth>
void backward_input_with_sums(const ops::GeluBackwardInput& args, cudaStream_t stream) {
  const ops::ColumnSum sum = ops::column_sum_of(args);
  const GeluBackwardTerms<T, kWidth> terms{static_cast<T*>(args.dx),
                                           static_cast<const T*>(args.dout),
                                           static_cast<const T*>(args.x), args.C};
  add_column_sums(terms, {{sum.dst}}, sum.N, sum.C, sum.scratch, stream);
}

}  // namespace

// -------------------------------------------------------------------------------------------------

void gelu_forward(const ops::GeluForward& args, cudaStream_t stream) {
  with_element_type(args.dtype, [&]<typename T>() {
    const GeluForwardLoop<T> loop{static_cast<T*>(args.out), static_cast<const T*>(args.x)};
    for_each_element(loop, args.count, vector_aligned({args.out, args.x}), stream);
  });
}

void gelu_backward_input(const ops::GeluBackwardInput& args, cudaStream_t stream) {
  with_element_type(args.dtype, [&]<typename T>() {
    const bool aligned = vector_aligned({args.dx, args.dout, args.x});
    if (args.dbias_or_null != nullptr) {
      if (aligned && rows_keep_alignment<T>(args.C)) {
        backward_input_with_sums<T, kPerVector<T>>(args, stream);
      } else {
        backward_input_with_sums<T, 1>(args, stream);
      }
      return;
    }
    const GeluBackwardInputLoop<T> loop{static_cast<T*>(args.dx), static_cast<const T*>(args.dout),
                                        static_cast<const T*>(args.x)};
    for_each_element(loop, args.count, aligned, stream);
  });
}

}  // namespace halfpipe::cuda
