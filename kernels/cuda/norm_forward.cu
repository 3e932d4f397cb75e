// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the GPU. Rows as norm_rows.cuh says. The variance is a sum of squares of
// differences, so it cannot cancel however far the mean is from zero.
#include "kernels/cuda/norm.h"

#include <cmath>

#include "kernels/core/align.h"
#include "kernels/cuda/element_group.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/norm_rows.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {

namespace {

constexpr int kForwardVectors = 8;  // 16-byte accesses of a thread at most: 32 registers

// So that a thread has 64 registers, and 1024 threads have a row or a part of one on its way.
template <int kWarpsPerRow>
constexpr int kForwardBlocksPerSm = 1024 / (kWarpsPerRow * kRowsPerBlock<kWarpsPerRow> * kWarpSize);

// Vectors lane, lane + kLanes, ... of a row, 16 bytes each, zero past its end. Not widened: a row
// of bfloat16 takes half the registers, so twice as many rows are on their way.
template <typename T, int kVectors, int kLanes>
struct PackedRowPart {
  static constexpr int kWidth = kPerVector<T>;
  uint4 vectors[kVectors];

  [[nodiscard]] static __device__ __forceinline__ std::int64_t column(int lane, int v) {
    return std::int64_t{lane + v * kLanes} * kWidth;
  }
  __device__ __forceinline__ void load(const T* row, int lane, std::int64_t C) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      vectors[v] = {};
      if (column(lane, v) < C) vectors[v] = load_packed(row + column(lane, v));
    }
  }
};

// out[i] = (x[i] - mean) * rstd * weight[i] + bias[i], kTogether vectors at a time: their weights
// and biases, from the first- or second-level cache, are on their way together.
template <int kTogether, typename T, int kVectors, int kLanes>
__device__ __forceinline__ void store_normalized(const ops::LayerNormForward& a,
                                                 const PackedRowPart<T, kVectors, kLanes>& x,
                                                 int lane,
                                                 float mean,
                                                 float rstd,
                                                 T* out) {
  constexpr int kWidth = kPerVector<T>;
  const T* const weight = static_cast<const T*>(a.weight);
  const T* const bias_or_null = static_cast<const T*>(a.bias_or_null);
#pragma unroll
  for (int first = 0; first < kVectors; first += kTogether) {
    uint4 weights[kTogether] = {};
    uint4 biases[kTogether] = {};
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      const std::int64_t c = x.column(lane, first + k);
      if (c >= a.C) continue;
      weights[k] = load_packed(weight + c);
      if (bias_or_null != nullptr) biases[k] = load_packed(bias_or_null + c);
    }
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      const std::int64_t c = x.column(lane, first + k);
      if (c >= a.C) continue;
      float value[kWidth];
      float scale[kWidth];
      float result[kWidth];
      unpack<T>(value, x.vectors[first + k]);
      unpack<T>(scale, weights[k]);
      unpack<T>(result, biases[k]);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) result[i] += (value[i] - mean) * rstd * scale[i];
      store_vector(out + c, result);
    }
  }
}

template <typename T, int kVectors, int kWarpsPerRow>
__global__ void __launch_bounds__(kWarpsPerRow* kRowsPerBlock<kWarpsPerRow>* kWarpSize,
                                  kForwardBlocksPerSm<kWarpsPerRow>)
    layer_norm_forward_kernel(ops::LayerNormForward a) {
  constexpr int kLanes = kWarpsPerRow * kWarpSize;
  constexpr int kRows = kRowsPerBlock<kWarpsPerRow>;
  constexpr int kWidth = kPerVector<T>;
  __shared__ float partial[2][kRows][kWarpsPerRow];
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t n = std::int64_t{blockIdx.x} * kRows + threadIdx.y;
  const bool exists = n < a.N;
  const std::int64_t at = (exists ? n : 0) * a.C;

  PackedRowPart<T, kVectors, kLanes> x;
  x.load(static_cast<const T*>(a.x) + at, lane, a.C);
  float total = 0.0F;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    float value[kWidth];
    unpack<T>(value, x.vectors[v]);
    float of_vector = 0.0F;  // on its own: eight short chains of additions instead of a long one
#pragma unroll
    for (int i = 0; i < kWidth; ++i) of_vector += value[i];
    total += of_vector;
  }
  const float mean = block_sum<kLanes>(total, partial[0][threadIdx.y]) / static_cast<float>(a.C);

  float squares = 0.0F;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (x.column(lane, v) >= a.C) continue;
    float value[kWidth];
    unpack<T>(value, x.vectors[v]);
    float of_vector = 0.0F;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) of_vector += (value[i] - mean) * (value[i] - mean);
    squares += of_vector;
  }
  const float variance =
      block_sum<kLanes>(squares, partial[1][threadIdx.y]) / static_cast<float>(a.C);
  const float rstd = 1.0F / sqrtf(variance + a.eps);

  if (!exists) return;
  if (lane == 0) {
    a.mean[n] = mean;
    a.rstd[n] = rstd;
  }
  store_normalized<2>(a, x, lane, mean, rstd, static_cast<T*>(a.out) + at);
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kLongRowThreads)
    layer_norm_forward_long_row_kernel(ops::LayerNormForward a) {
  __shared__ float partial[2][kLongRowThreads / kWarpSize];
  const std::int64_t n = blockIdx.x;
  const std::int64_t first = std::int64_t{threadIdx.x} * kWidth;
  constexpr std::int64_t kStride = std::int64_t{kLongRowThreads} * kWidth;
  const T* x = static_cast<const T*>(a.x) + n * a.C;
  float group[kWidth];

  float total = 0.0F;
#pragma unroll 4
  for (std::int64_t c = first; c < a.C; c += kStride) {
    load_group(group, x + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) total += group[i];
  }
  const float mean = block_sum<kLongRowThreads>(total, partial[0]) / static_cast<float>(a.C);

  float squares = 0.0F;
#pragma unroll 4
  for (std::int64_t c = first; c < a.C; c += kStride) {
    load_group(group, x + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) squares += (group[i] - mean) * (group[i] - mean);
  }
  const float variance = block_sum<kLongRowThreads>(squares, partial[1]) / static_cast<float>(a.C);
  const float rstd = 1.0F / sqrtf(variance + a.eps);

  if (threadIdx.x == 0) {
    a.mean[n] = mean;
    a.rstd[n] = rstd;
  }
  for (std::int64_t c = first; c < a.C; c += kStride) {
    float weight[kWidth];
    float bias[kWidth] = {};
    load_group(group, x + c);
    load_group(weight, static_cast<const T*>(a.weight) + c);
    if (a.bias_or_null != nullptr) load_group(bias, static_cast<const T*>(a.bias_or_null) + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) bias[i] += (group[i] - mean) * rstd * weight[i];
    store_group(static_cast<T*>(a.out) + n * a.C + c, bias);
  }
}

// -------------------------------------------------------------------------------------------------

template <typename T, int kVectors = 2, int kWarpsPerRow = 1>
void forward_with_rows_in_registers(const ops::LayerNormForward& args, cudaStream_t stream) {
  if constexpr (kWarpsPerRow > kMostWarpsPerRow) {
    launch(layer_norm_forward_long_row_kernel<T, kPerVector<T>>,
           dim3(static_cast<unsigned>(args.N)), dim3(kLongRowThreads), 0, stream, args);
  } else if (args.C > kWarpsPerRow * kWarpSize * kVectors * kPerVector<T>) {
    constexpr bool kFull = kVectors == kForwardVectors;
    forward_with_rows_in_registers<T, kFull ? kVectors : 2 * kVectors,
                                   kFull ? 2 * kWarpsPerRow : kWarpsPerRow>(args, stream);
  } else {
    constexpr std::int64_t kRows = kRowsPerBlock<kWarpsPerRow>;
    launch(layer_norm_forward_kernel<T, kVectors, kWarpsPerRow>,
           dim3(static_cast<unsigned>(ceil_div(args.N, kRows))),
           dim3(kWarpsPerRow * kWarpSize, kRows), 0, stream, args);
  }
}

}  // namespace

void layer_norm_forward(const ops::LayerNormForward& args, cudaStream_t stream) {
  if (args.N == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    if (rows_keep_alignment<T>(args.C) &&
        vector_aligned({args.out, args.x, args.weight, args.bias_or_null})) {
      forward_with_rows_in_registers<T>(args, stream);
    } else {
      launch(layer_norm_forward_long_row_kernel<T, 1>, dim3(static_cast<unsigned>(args.N)),
             dim3(kLongRowThreads), 0, stream, args);
    }
  });
}

}  // namespace halfpipe::cuda
