// SPDX-License-Identifier: Apache-2.0
// Attention of one new position against the cache, bound by reading the cache: a block per head,
// whose warps share the positions; a warp takes four at a time, so that four rows are on their way
// from memory at once.
#include <cmath>
#include <cstdint>
#include <string>

#include "kernels/core/error.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kKeysPerWarp = 4;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kWarpFloats = kMaxHeadSize + 2;  // a warp's sums, maximum and sum of weights

/// kColumns: of a lane; HS <= 32 kColumns.
template <int kColumns>
__global__ void __launch_bounds__(kThreads)
    attention_decode_kernel(ops::AttentionDecode args, float scale) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  float* const warps = reinterpret_cast<float*>(shared);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t b = blockIdx.x / args.NH;
  const std::int64_t h = blockIdx.x % args.NH;
  const std::int64_t stride = args.NH * args.HS;
  const std::int64_t offset = b * args.T_max * stride + h * args.HS;

  float q[kColumns];
  float sums[kColumns] = {};
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int column = lane + c * kWarpSize;
    q[c] = column < args.HS ? args.q[b * args.q_stride + h * args.HS + column] * scale : 0.0F;
  }
  float maximum = -INFINITY;
  float total = 0.0F;
  for (std::int64_t first = warp * kKeysPerWarp; first <= args.position;
       first += kWarps * kKeysPerWarp) {
    float scores[kKeysPerWarp] = {};
#pragma unroll
    for (int j = 0; j < kKeysPerWarp; ++j) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = lane + c * kWarpSize;
        if (first + j <= args.position && column < args.HS) {
          scores[j] = fmaf(q[c], args.k[offset + (first + j) * stride + column], scores[j]);
        }
      }
    }
    float new_maximum = maximum;
#pragma unroll
    for (int j = 0; j < kKeysPerWarp; ++j) {
      scores[j] = warp_sum(scores[j]);
      if (first + j > args.position) scores[j] = -INFINITY;
      new_maximum = fmaxf(new_maximum, scores[j]);
    }
    const float correction = expf(maximum - new_maximum);
    maximum = new_maximum;
    total *= correction;
#pragma unroll
    for (float& sum : sums) sum *= correction;
#pragma unroll
    for (int j = 0; j < kKeysPerWarp; ++j) {
      const float weight = expf(scores[j] - maximum);
      total += weight;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = lane + c * kWarpSize;
        if (first + j <= args.position && column < args.HS) {
          sums[c] = fmaf(weight, args.v[offset + (first + j) * stride + column], sums[c]);
        }
      }
    }
  }

  float* const own = warps + warp * kWarpFloats;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) own[lane + c * kWarpSize] = sums[c];
  if (lane == 0) {
    own[kMaxHeadSize] = maximum;
    own[kMaxHeadSize + 1] = total;
  }
  __syncthreads();
  float block_maximum = -INFINITY;  // finite in the end: warp 0 always has position 0
  for (int w = 0; w < kWarps; ++w) {
    block_maximum = fmaxf(block_maximum, warps[w * kWarpFloats + kMaxHeadSize]);
  }
  const int column = static_cast<int>(threadIdx.x);
  if (column >= args.HS) return;
  float block_total = 0.0F;
  float result = 0.0F;
  for (int w = 0; w < kWarps; ++w) {
    const float* const from = warps + w * kWarpFloats;
    const float correction = expf(from[kMaxHeadSize] - block_maximum);
    block_total = fmaf(correction, from[kMaxHeadSize + 1], block_total);
    result = fmaf(correction, from[column], result);
  }
  args.out[(b * args.NH + h) * args.HS + column] = result / block_total;
}
static_assert(kThreads >= kMaxHeadSize, "a thread writes one column");

}  // namespace

void attention_decode(const ops::AttentionDecode& args, cudaStream_t stream) {
  if (args.B == 0 || args.NH == 0 || args.HS == 0) return;
  HALFPIPE_CHECK(args.HS <= kMaxHeadSize, "attention on CUDA: heads of " + std::to_string(args.HS) +
                                              " elements; at most " + std::to_string(kMaxHeadSize) +
                                              " are supported");
  const float scale = 1.0F / std::sqrt(static_cast<float>(args.HS));
  const auto grid = static_cast<unsigned>(args.B * args.NH);
  constexpr std::size_t kSharedBytes = kWarps * kWarpFloats * sizeof(float);
  if (args.HS <= 64) {
    launch(attention_decode_kernel<2>, grid, kThreads, kSharedBytes, stream, args, scale);
  } else if (args.HS <= 128) {
    launch(attention_decode_kernel<4>, grid, kThreads, kSharedBytes, stream, args, scale);
  } else {
    launch(attention_decode_kernel<8>, grid, kThreads, kSharedBytes, stream, args, scale);
  }
}

}  // namespace halfpipe::cuda
