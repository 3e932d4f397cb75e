// SPDX-License-Identifier: Apache-2.0
// Backward passes of LayerNorm on the GPU. Rows as norm_rows.cuh says; weight gradients are column
// sums.
#include "kernels/cuda/norm.h"

#include "kernels/core/align.h"
#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/element_group.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/norm_rows.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {

namespace {

// Of one thread and one array: x, dout or the residual.
constexpr int kBackwardElements = 16;

// The groups of a row that one thread holds: groups lane, lane + num_lanes, ...
template <int kGroups, int kWidth>
struct RowPart {
  float values[kGroups][kWidth];

  // Past the end of the row the first group is read instead, so that no load waits for a branch;
  // the caller discards it.
  template <typename T>
  __device__ __forceinline__ void load(const T* row, int lane, int num_lanes, std::int64_t C) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const std::int64_t c = std::int64_t{lane + g * num_lanes} * kWidth;
      load_group(values[g], row + (c < C ? c : 0));
    }
  }
};

template <typename T, int kWarpsPerRow>
__global__ void __launch_bounds__(kWarpsPerRow* kRowsPerBlock<kWarpsPerRow>* kWarpSize)
    layer_norm_backward_input_kernel(ops::LayerNormBackwardInput a) {
  constexpr int kLanes = kWarpsPerRow * kWarpSize;
  constexpr int kRows = kRowsPerBlock<kWarpsPerRow>;
  constexpr int kWidth = kPerVector<T>;
  constexpr int kGroups = kBackwardElements / kWidth;
  __shared__ float partial[2][kRows][kWarpsPerRow];
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t n = std::int64_t{blockIdx.x} * kRows + threadIdx.y;
  const bool exists = n < a.N;
  const std::int64_t at = (exists ? n : 0) * a.C;

  RowPart<kGroups, kWidth> xhat;
  RowPart<kGroups, kWidth> g;
  RowPart<kGroups, kWidth> weight;
  RowPart<kGroups, kWidth> residual = {};
  xhat.load(static_cast<const T*>(a.x) + at, lane, kLanes, a.C);
  g.load(static_cast<const T*>(a.dout) + at, lane, kLanes, a.C);
  if (a.residual_or_null != nullptr) {
    residual.load(static_cast<const T*>(a.residual_or_null) + at, lane, kLanes, a.C);
  }
  weight.load(static_cast<const T*>(a.weight), lane, kLanes, a.C);
  const float mean = a.mean[exists ? n : 0];
  const float rstd = a.rstd[exists ? n : 0];

  float g_total = 0.0F;
  float g_xhat_total = 0.0F;
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
    const bool inside = std::int64_t{lane + j * kLanes} * kWidth < a.C;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      g.values[j][i] *= weight.values[j][i];
      xhat.values[j][i] = (xhat.values[j][i] - mean) * rstd;
      g_total += inside ? g.values[j][i] : 0.0F;
      g_xhat_total += inside ? g.values[j][i] * xhat.values[j][i] : 0.0F;
    }
  }
  const auto width = static_cast<float>(a.C);
  const float g_mean = block_sum<kLanes>(g_total, partial[0][threadIdx.y]) / width;
  const float g_xhat_mean = block_sum<kLanes>(g_xhat_total, partial[1][threadIdx.y]) / width;

  if (!exists) return;
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
    const std::int64_t c = std::int64_t{lane + j * kLanes} * kWidth;
    if (c >= a.C) continue;
    float dx[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      dx[i] = rstd * (g.values[j][i] - g_mean - xhat.values[j][i] * g_xhat_mean) +
              residual.values[j][i];
    }
    store_group(static_cast<T*>(a.dx) + at + c, dx);
  }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kLongRowThreads)
    layer_norm_backward_input_long_row_kernel(ops::LayerNormBackwardInput a) {
  __shared__ float partial[2][kLongRowThreads / kWarpSize];
  const std::int64_t n = blockIdx.x;
  const std::int64_t first = std::int64_t{threadIdx.x} * kWidth;
  constexpr std::int64_t kStride = std::int64_t{kLongRowThreads} * kWidth;
  const T* x_row = static_cast<const T*>(a.x) + n * a.C;
  const T* dout_row = static_cast<const T*>(a.dout) + n * a.C;
  const float mean = a.mean[n];
  const float rstd = a.rstd[n];
  float x[kWidth];
  float dout[kWidth];
  float weight[kWidth];

  float g_total = 0.0F;
  float g_xhat_total = 0.0F;
#pragma unroll 2
  for (std::int64_t c = first; c < a.C; c += kStride) {
    load_group(x, x_row + c);
    load_group(dout, dout_row + c);
    load_group(weight, static_cast<const T*>(a.weight) + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float g = dout[i] * weight[i];
      g_total += g;
      g_xhat_total += g * ((x[i] - mean) * rstd);
    }
  }
  const auto width = static_cast<float>(a.C);
  const float g_mean = block_sum<kLongRowThreads>(g_total, partial[0]) / width;
  const float g_xhat_mean = block_sum<kLongRowThreads>(g_xhat_total, partial[1]) / width;

  for (std::int64_t c = first; c < a.C; c += kStride) {
    float dx[kWidth] = {};
    load_group(x, x_row + c);
    load_group(dout, dout_row + c);
    load_group(weight, static_cast<const T*>(a.weight) + c);
    if (a.residual_or_null != nullptr) {
      load_group(dx, static_cast<const T*>(a.residual_or_null) + n * a.C + c);
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float xhat = (x[i] - mean) * rstd;
      dx[i] += rstd * (dout[i] * weight[i] - g_mean - xhat * g_xhat_mean);
    }
    store_group(static_cast<T*>(a.dx) + n * a.C + c, dx);
  }
}

template <typename T, int kColumnsOfThread>
struct WeightTerms {
  using Element = T;
  static constexpr int kWidth = kColumnsOfThread;
  static constexpr int kSums = 2;
  static constexpr int kBlocksPerSm = 4;
  struct Row {
    float dout[kWidth];
    float x[kWidth];
    float mean;
    float rstd;
  };
  ops::LayerNormBackwardWeight args;

  __device__ __forceinline__ void load(std::int64_t n, std::int64_t c, Row& row) const {
    load_group(row.dout, static_cast<const T*>(args.dout) + n * args.C + c);
    load_group(row.x, static_cast<const T*>(args.x) + n * args.C + c);
    row.mean = args.mean[n];
    row.rstd = args.rstd[n];
  }
  __device__ __forceinline__ void add(const Row& row, float (&sums)[kSums][kWidth]) const {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      sums[0][i] += row.dout[i] * ((row.x[i] - row.mean) * row.rstd);
      sums[1][i] += row.dout[i];
    }
  }
};

// -------------------------------------------------------------------------------------------------

template <typename T, int kWarpsPerRow = 1>
void backward_with_rows_in_registers(const ops::LayerNormBackwardInput& args, cudaStream_t stream) {
  if constexpr (kWarpsPerRow > kMostWarpsPerRow) {
    launch(layer_norm_backward_input_long_row_kernel<T, kPerVector<T>>,
           dim3(static_cast<unsigned>(args.N)), dim3(kLongRowThreads), 0, stream, args);
  } else if (args.C > kWarpsPerRow * kWarpSize * kBackwardElements) {
    backward_with_rows_in_registers<T, 2 * kWarpsPerRow>(args, stream);
  } else {
    constexpr std::int64_t kRows = kRowsPerBlock<kWarpsPerRow>;
    launch(layer_norm_backward_input_kernel<T, kWarpsPerRow>,
           dim3(static_cast<unsigned>(ceil_div(args.N, kRows))),
           dim3(kWarpsPerRow * kWarpSize, kRows), 0, stream, args);
  }
}

template <typename T, int kWidth>
void backward_weight(const ops::LayerNormBackwardWeight& args, cudaStream_t stream) {
  const WeightTerms<T, kWidth> terms{args};
  add_column_sums(terms, {{args.dweight, args.dbias_or_null}}, args.N, args.C, args.scratch,
                  stream);
}

}  // namespace

void layer_norm_backward_input(const ops::LayerNormBackwardInput& args, cudaStream_t stream) {
  if (args.N == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    if (rows_keep_alignment<T>(args.C) &&
        vector_aligned({args.dx, args.dout, args.x, args.weight, args.residual_or_null})) {
      backward_with_rows_in_registers<T>(args, stream);
    } else {
      launch(layer_norm_backward_input_long_row_kernel<T, 1>, dim3(static_cast<unsigned>(args.N)),
             dim3(kLongRowThreads), 0, stream, args);
    }
  });
}

void layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args, cudaStream_t stream) {
  with_element_type(args.dtype, [&]<typename T>() {
    if (rows_keep_alignment<T>(args.C) && vector_aligned({args.dout, args.x})) {
      backward_weight<T, kPerVector<T>>(args, stream);
    } else {
      backward_weight<T, 1>(args, stream);
    }
  });
}

std::size_t layer_norm_backward_weight_scratch_bytes(const ops::LayerNormBackwardWeight& args) {
  std::size_t bytes = 0;
  with_element_type(args.dtype, [&]<typename T>() {
    bytes = column_sums_scratch_bytes<T, WeightTerms<T, 1>::kSums>(args.N, args.C);
  });
  return bytes;
}

}  // namespace halfpipe::cuda
