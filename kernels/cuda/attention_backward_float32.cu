// SPDX-License-Identifier: Apache-2.0
// Backward attention with float32 arithmetic, by one kernel for each of dq (a block per 32 queries)
// and dk and dv (a block per 32 keys): both recompute the scores, and no two blocks add to one sum.
// The first puts dq into scratch, as the second still reads q; the second may overwrite its keys
// and values, which only one block reads; a third moves dq. Therefore dqkv may be qkv.
#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention_float32.cuh"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/launch.h"

namespace halfpipe::cuda {
namespace {

using namespace float32;

/// Where a block works and how the rows of its head lie in the tensors.
struct Place {
  std::int64_t head;
  std::int64_t first;       // of its 32 rows
  std::int64_t qkv_offset;  // of the head's first query
  std::int64_t out_offset;
  std::int64_t qkv_stride;
  std::int64_t out_stride;
};

__device__ __forceinline__ Place place_of_block(const ops::AttentionDims& dims, int num_tiles) {
  const std::int64_t head = blockIdx.x / num_tiles;
  const std::int64_t b = head / dims.NH;
  const std::int64_t offset = head % dims.NH * dims.HS;
  const std::int64_t stride = dims.NH * dims.HS;
  return {head,
          std::int64_t{blockIdx.x % num_tiles} * kRows,
          b * dims.T * 3 * stride + offset,
          b * dims.T * stride + offset,
          3 * stride,
          stride};
}

template <int kHead>
constexpr std::size_t kDqSharedBytes = (4 * kTileFloats<kHead> + kScoreFloats) * sizeof(float);
template <int kHead>
constexpr std::size_t kDkvSharedBytes = (4 * kTileFloats<kHead> + 2 * kScoreFloats) * sizeof(float);

/// dq: [B, T, NH, HS] in scratch. Also delta[query] = dout . out, [B, NH, T].
template <int kHead, typename T>
__global__ void __launch_bounds__(kThreads) attention_backward_dq_kernel(
    ops::AttentionBackwardInput args, T* dq, float* delta, int num_tiles, float scale) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  float* const query_tile = reinterpret_cast<float*>(shared);
  float* const dout_tile = query_tile + kTileFloats<kHead>;
  float* const key_tile = dout_tile + kTileFloats<kHead>;
  float* const value_tile = key_tile + kTileFloats<kHead>;

  const int HS = static_cast<int>(args.dims.HS);
  const std::int64_t length = args.dims.T;
  const Place at = place_of_block(args.dims, num_tiles);
  const T* const queries = static_cast<const T*>(args.qkv) + at.qkv_offset;
  const T* const keys = queries + at.out_stride;
  const T* const values = keys + at.out_stride;
  const T* const dout = static_cast<const T*>(args.dout) + at.out_offset;
  const int row = static_cast<int>(threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t query = at.first + row;
  float* const gradients = value_tile + kTileFloats<kHead> + row * kScorePitch;

  load_tile<kHead>(query_tile, queries + at.first * at.qkv_stride, at.qkv_stride, length - at.first,
                   HS);
  load_tile<kHead>(dout_tile, dout + at.first * at.out_stride, at.out_stride, length - at.first,
                   HS);
  float delta_of_row = 0.0F;
  float lse = INFINITY;
  if (query < length) {
    const T* const out = static_cast<const T*>(args.out) + at.out_offset + query * at.out_stride;
    const T* const dout_row = dout + query * at.out_stride;
    for (int column = lane; column < HS; column += kLanes) {
      delta_of_row = fmaf(load_float(out + column), load_float(dout_row + column), delta_of_row);
    }
    lse = args.lse[at.head * length + query];
  }
  delta_of_row = sum_of_row(delta_of_row);
  if (query < length && lane == 0) delta[at.head * length + query] = delta_of_row;

  RowPart<kHead> sums = {};
  for (std::int64_t first_key = 0; first_key <= at.first; first_key += kRows) {
    __syncthreads();
    load_tile<kHead>(key_tile, keys + first_key * at.qkv_stride, at.qkv_stride, length - first_key,
                     HS);
    load_tile<kHead>(value_tile, values + first_key * at.qkv_stride, at.qkv_stride,
                     length - first_key, HS);
    __syncthreads();
    float scores[kScores];
    float dp[kScores];
    multiply_with_rows<kHead>(scores, query_tile + row * kPitch<kHead>, key_tile, lane);
    multiply_with_rows<kHead>(dp, dout_tile + row * kPitch<kHead>, value_tile, lane);
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const bool seen = first_key + lane + kLanes * i <= query;
      const float p = seen ? expf(fmaf(scores[i], scale, -lse)) : 0.0F;
      gradients[lane + kLanes * i] = p * (dp[i] - delta_of_row);
    }
    __syncwarp();  // a row's lanes are in one warp
    add_weighted_rows<kHead>(sums, gradients, key_tile, lane);
  }
  if (query >= length) return;
  store_row<kHead>(dq + at.out_offset + query * at.out_stride, sums, scale, lane, HS);
}

template <int kHead, typename T>
__global__ void __launch_bounds__(kThreads) attention_backward_dkv_kernel(
    ops::AttentionBackwardInput args, const float* delta, int num_tiles, float scale) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  float* const key_tile = reinterpret_cast<float*>(shared);
  float* const value_tile = key_tile + kTileFloats<kHead>;
  float* const query_tile = value_tile + kTileFloats<kHead>;
  float* const dout_tile = query_tile + kTileFloats<kHead>;

  const int HS = static_cast<int>(args.dims.HS);
  const std::int64_t length = args.dims.T;
  const Place at = place_of_block(args.dims, num_tiles);
  const T* const queries = static_cast<const T*>(args.qkv) + at.qkv_offset;
  const T* const keys = queries + at.out_stride;
  const T* const values = keys + at.out_stride;
  const T* const dout = static_cast<const T*>(args.dout) + at.out_offset;
  const int row = static_cast<int>(threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t key = at.first + row;
  float* const probabilities = dout_tile + kTileFloats<kHead> + row * kScorePitch;
  float* const gradients = probabilities + kScoreFloats;

  load_tile<kHead>(key_tile, keys + at.first * at.qkv_stride, at.qkv_stride, length - at.first, HS);
  load_tile<kHead>(value_tile, values + at.first * at.qkv_stride, at.qkv_stride, length - at.first,
                   HS);
  RowPart<kHead> dk = {};
  RowPart<kHead> dv = {};
  for (std::int64_t first_query = at.first; first_query < length; first_query += kRows) {
    __syncthreads();
    load_tile<kHead>(query_tile, queries + first_query * at.qkv_stride, at.qkv_stride,
                     length - first_query, HS);
    load_tile<kHead>(dout_tile, dout + first_query * at.out_stride, at.out_stride,
                     length - first_query, HS);
    __syncthreads();
    float scores[kScores];
    float dp[kScores];
    multiply_with_rows<kHead>(scores, key_tile + row * kPitch<kHead>, query_tile, lane);
    multiply_with_rows<kHead>(dp, value_tile + row * kPitch<kHead>, dout_tile, lane);
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const std::int64_t query = first_query + lane + kLanes * i;
      float p = 0.0F;
      float ds = 0.0F;
      if (key <= query && query < length) {
        p = expf(fmaf(scores[i], scale, -args.lse[at.head * length + query]));
        ds = p * (dp[i] - delta[at.head * length + query]);
      }
      probabilities[lane + kLanes * i] = p;
      gradients[lane + kLanes * i] = ds;
    }
    __syncwarp();
    add_weighted_rows<kHead>(dv, probabilities, dout_tile, lane);
    add_weighted_rows<kHead>(dk, gradients, query_tile, lane);
  }
  if (key >= length) return;
  T* const dk_row =
      static_cast<T*>(args.dqkv) + at.qkv_offset + at.out_stride + key * at.qkv_stride;
  store_row<kHead>(dk_row, dk, scale, lane, HS);
  store_row<kHead>(dk_row + at.out_stride, dv, 1.0F, lane, HS);
}

constexpr int kMoveThreads = 256;

/// dqkv[row, 0, :] = dq[row, :], of C elements.
template <typename T>
__global__ void move_dq_kernel(T* dqkv, const T* dq, std::int64_t count, std::int64_t C) {
  const std::int64_t index = std::int64_t{blockIdx.x} * kMoveThreads + threadIdx.x;
  if (index < count) dqkv[index / C * 3 * C + index % C] = dq[index];
}

template <typename T>
void launch_backward(const ops::AttentionBackwardInput& args, cudaStream_t stream) {
  const ops::AttentionDims& dims = args.dims;
  const std::int64_t num_tiles = (dims.T + kRows - 1) / kRows;
  const auto num_blocks = static_cast<unsigned>(dims.B * dims.NH * num_tiles);
  const float scale = 1.0F / std::sqrt(static_cast<float>(dims.HS));
  float* const delta = static_cast<float*>(args.scratch);
  T* const dq = reinterpret_cast<T*>(delta + dims.B * dims.NH * dims.T);
  with_padded_head(dims.HS, [&]<int kHead>() {
    launch(attention_backward_dq_kernel<kHead, T>, num_blocks, kThreads, kDqSharedBytes<kHead>,
           stream, args, dq, delta, static_cast<int>(num_tiles), scale);
    launch(attention_backward_dkv_kernel<kHead, T>, num_blocks, kThreads, kDkvSharedBytes<kHead>,
           stream, args, delta, static_cast<int>(num_tiles), scale);
  });
  const std::int64_t C = dims.NH * dims.HS;
  const std::int64_t count = dims.B * dims.T * C;
  launch(move_dq_kernel<T>, static_cast<unsigned>((count + kMoveThreads - 1) / kMoveThreads),
         kMoveThreads, 0, stream, static_cast<T*>(args.dqkv), dq, count, C);
}

}  // namespace

void attention_backward_float32(const ops::AttentionBackwardInput& args, cudaStream_t stream) {
  if (args.dtype == DType::kBFloat16) return launch_backward<BFloat16>(args, stream);
  launch_backward<float>(args, stream);
}

std::size_t attention_backward_float32_scratch_bytes(const ops::AttentionDims& dims, DType dtype) {
  const std::int64_t rows = dims.B * dims.NH * dims.T;
  return static_cast<std::size_t>(rows) *
         (sizeof(float) + static_cast<std::size_t>(dims.HS) * size_of(dtype));
}

}  // namespace halfpipe::cuda
