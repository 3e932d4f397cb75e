// SPDX-License-Identifier: Apache-2.0
// Forward attention with float32 arithmetic: a block of 32 queries runs over its keys, 32 at a
// time, with an online softmax.
#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention_float32.cuh"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/launch.h"

namespace halfpipe::cuda {
namespace {

using namespace float32;

template <int kHead>
constexpr std::size_t kSharedBytes = (3 * kTileFloats<kHead> + kScoreFloats) * sizeof(float);

/// Grid: tiles of queries fastest, then heads.
template <int kHead, typename T>
__global__ void __launch_bounds__(kThreads)
    attention_forward_kernel(ops::AttentionForward args, int num_tiles, float scale) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  float* const query_tile = reinterpret_cast<float*>(shared);
  float* const key_tile = query_tile + kTileFloats<kHead>;
  float* const value_tile = key_tile + kTileFloats<kHead>;
  float* const score_tile = value_tile + kTileFloats<kHead>;

  const int HS = static_cast<int>(args.dims.HS);
  const std::int64_t length = args.dims.T;
  const std::int64_t NH = args.dims.NH;
  const std::int64_t head = blockIdx.x / num_tiles;
  const std::int64_t b = head / NH;
  const std::int64_t h = head % NH;
  const std::int64_t first_query = std::int64_t{blockIdx.x % num_tiles} * kRows;
  const std::int64_t row_stride = 3 * NH * HS;
  const T* const queries = static_cast<const T*>(args.qkv) + b * length * row_stride + h * HS;
  const T* const keys = queries + NH * HS;
  const T* const values = keys + NH * HS;
  const int row = static_cast<int>(threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t query = first_query + row;
  float* const weights = score_tile + row * kScorePitch;

  load_tile<kHead>(query_tile, queries + first_query * row_stride, row_stride, length - first_query,
                   HS);
  RowPart<kHead> sums = {};
  float maximum = -INFINITY;
  float sum = 0.0F;
  for (std::int64_t first_key = 0; first_key <= first_query; first_key += kRows) {
    __syncthreads();
    load_tile<kHead>(key_tile, keys + first_key * row_stride, row_stride, length - first_key, HS);
    load_tile<kHead>(value_tile, values + first_key * row_stride, row_stride, length - first_key,
                     HS);
    __syncthreads();
    float scores[kScores];
    multiply_with_rows<kHead>(scores, query_tile + row * kPitch<kHead>, key_tile, lane);
    float new_maximum = maximum;
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      scores[i] = first_key + lane + kLanes * i <= query ? scores[i] * scale : -INFINITY;
      new_maximum = fmaxf(new_maximum, scores[i]);
    }
    new_maximum = max_of_row(new_maximum);
    const float correction = expf(maximum - new_maximum);
    maximum = new_maximum;
    sum *= correction;
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const float weight = expf(scores[i] - maximum);
      weights[lane + kLanes * i] = weight;
      sum += weight;
    }
#pragma unroll
    for (auto& part : sums) {
#pragma unroll
      for (float& value : part) value *= correction;
    }
    __syncwarp();  // a row's lanes are in one warp
    add_weighted_rows<kHead>(sums, weights, value_tile, lane);
  }
  sum = sum_of_row(sum);
  if (query >= length) return;
  store_row<kHead>(static_cast<T*>(args.out) + ((b * length + query) * NH + h) * HS, sums,
                   1.0F / sum, lane, HS);
  if (lane == 0) args.lse[head * length + query] = maximum + logf(sum);
}

template <typename T>
void launch_forward(const ops::AttentionForward& args, cudaStream_t stream) {
  const ops::AttentionDims& dims = args.dims;
  const std::int64_t num_tiles = (dims.T + kRows - 1) / kRows;
  with_padded_head(dims.HS, [&]<int kHead>() {
    launch(attention_forward_kernel<kHead, T>, static_cast<unsigned>(dims.B * dims.NH * num_tiles),
           kThreads, kSharedBytes<kHead>, stream, args, static_cast<int>(num_tiles),
           1.0F / std::sqrt(static_cast<float>(dims.HS)));
  });
}

}  // namespace

void attention_forward_float32(const ops::AttentionForward& args, cudaStream_t stream) {
  if (args.dtype == DType::kBFloat16) return launch_forward<BFloat16>(args, stream);
  launch_forward<float>(args, stream);
}

}  // namespace halfpipe::cuda
