// SPDX-License-Identifier: Apache-2.0
// Flash attention, forward, as in attention_float32_forward.cpp: a task is one block of queries of
// one head, and queries lie along the vector lanes. Scores multiply keys where they lie in qkv,
// two components at a time; out multiplies values of two keys at a time, interleaved here.
// B=8 T=256 NH=6 HS=64 on one core of an AMD EPYC (Zen 4): 113 GFLOP/s, the half above the diagonal
// not counted; in float32 62.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/align.h"
#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/attention_pairs.h"
#include "kernels/cpu/attention_pairs_block.h"
#include "kernels/cpu/bfloat16_pairs.h"
#include "kernels/cpu/vector_math.h"

namespace halfpipe::cpu {
namespace {

/// State of one block of queries. Pointers lead into the thread's scratch.
struct QueryBlock {
  float* out;        // [HS, kQueryBlock], not yet divided by sum
  float* scores;     // [kKeyBlock, kQueryBlock], without scale; then probabilities
  float* rows;       // [kQueryBlock, HS] of q or out
  BFloat16* q;       // [HS / 2, kQueryBlock, 2]
  BFloat16* p_rows;  // [kKeyBlock, kQueryBlock]
  BFloat16* p;       // [kKeyBlock / 2, kQueryBlock, 2]
  BFloat16* v;       // [kKeyBlock / 2, HS, 2]
  alignas(64) float max[kQueryBlock];  // of scores, without scale
  alignas(64) float sum[kQueryBlock];

  QueryBlock(std::byte* base, std::int64_t HS) {
    ScratchCutter scratch(base);
    out = scratch.take<float>(HS * kQueryBlock);
    scores = scratch.take<float>(kKeyBlock * kQueryBlock);
    rows = scratch.take<float>(kQueryBlock * HS);
    q = scratch.take<BFloat16>(HS * kQueryBlock);
    p_rows = scratch.take<BFloat16>(kKeyBlock * kQueryBlock);
    p = scratch.take<BFloat16>(kKeyBlock * kQueryBlock);
    v = scratch.take<BFloat16>(kKeyBlock * HS);
    std::fill_n(max, kQueryBlock, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, kQueryBlock, 0.0F);
    bytes_ = scratch.bytes();
  }
  static std::size_t scratch_bytes(std::int64_t HS) { return QueryBlock(nullptr, HS).bytes_; }

 private:
  std::size_t bytes_;
};

/// scores <- exp(scale (scores - max)) with the maximum so far, and p the same in bfloat16; sum and
/// the first HS rows of out follow to the new maximum.
void update_softmax(QueryBlock& block, std::int64_t num_keys, float scale, std::int64_t HS) {
  alignas(64) float new_max[kQueryBlock];
  alignas(64) float shift[kQueryBlock];
  alignas(64) float correction[kQueryBlock];
  std::copy_n(block.max, kQueryBlock, new_max);
  for (std::int64_t j = 0; j < num_keys; ++j) {
    const float* const row = block.scores + j * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) {
      new_max[l] = row[l] > new_max[l] ? row[l] : new_max[l];
    }
  }
  for (std::int64_t l = 0; l < kQueryBlock; ++l) {
    shift[l] = scale * new_max[l];
    correction[l] = exp_below(scale * block.max[l] - shift[l]);
    block.sum[l] *= correction[l];
    block.max[l] = new_max[l];
  }
  for (std::int64_t j = 0; j < num_keys; ++j) {
    float* const row = block.scores + j * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) {
      row[l] = exp_below(scale * row[l] - shift[l]);
      block.sum[l] += row[l];
    }
  }
  round_lanes(block.scores, num_keys * kQueryBlock, block.p_rows);
  interleave_rows(block.p_rows, kQueryBlock, num_keys, kQueryBlock, block.p, 2 * kQueryBlock);
  for (std::int64_t d = 0; d < HS; ++d) {
    float* const row = block.out + d * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) row[l] *= correction[l];
  }
}

void visit_keys(const ops::AttentionForward& args,
                const HeadLayout& head,
                std::int64_t first_query,
                float scale,
                QueryBlock& block) {
  const std::int64_t HS = args.dims.HS;
  const std::int64_t end_key = std::min(first_query + kQueryBlock, args.dims.T);
  for (std::int64_t first_key = 0; first_key < end_key; first_key += kKeyBlock) {
    const std::int64_t num_keys = std::min(kKeyBlock, end_key - first_key);
    const BFloat16* const k =
        static_cast<const BFloat16*>(args.qkv) + head.q + head.part + first_key * head.qkv_stride;
    // scores[j, l] = sum_d k[j, d] q[l, d]
    pair_product({block.scores, kQueryBlock, k, head.qkv_stride, 2, block.q, 2 * kQueryBlock,
                  num_keys, kQueryBlock, HS / 2, /*accumulate=*/false});
    mask_future_keys(block.scores, first_key, num_keys, first_query);
    update_softmax(block, num_keys, scale, first_key == 0 ? 0 : HS);
    interleave_rows(k + head.part, head.qkv_stride, num_keys, HS, block.v, 2 * HS);
    // out[d, l] (+)= sum_j v[j, d] p[j, l]
    pair_product({block.out, kQueryBlock, block.v, 2, 2 * HS, block.p, 2 * kQueryBlock, HS,
                  kQueryBlock, ceil_div(num_keys, std::int64_t{2}),
                  /*accumulate=*/first_key != 0});
  }
}

void forward_block(const ops::AttentionForward& args,
                   const HeadLayout& head,
                   std::int64_t first_query,
                   std::byte* scratch) {
  const std::int64_t HS = args.dims.HS;
  const std::int64_t num_queries = std::min(kQueryBlock, args.dims.T - first_query);
  const float scale = 1.0F / std::sqrt(static_cast<float>(HS));
  QueryBlock block(scratch, HS);
  transpose_pairs(static_cast<const BFloat16*>(args.qkv) + head.q + first_query * head.qkv_stride,
                  head.qkv_stride, num_queries, HS, block.rows, block.q);
  visit_keys(args, head, first_query, scale, block);
  alignas(64) float factors[kQueryBlock];
  for (std::int64_t l = 0; l < num_queries; ++l) {
    factors[l] = 1.0F / block.sum[l];
    args.lse[head.lse + first_query + l] = scale * block.max[l] + std::log(block.sum[l]);
  }
  write_rows(static_cast<BFloat16*>(args.out) + head.out + first_query * head.part, head.part,
             block.out, factors, num_queries, HS, /*unrounded=*/block.rows);
}

}  // namespace

void attention_forward_pairs(const ops::AttentionForward& args, ThreadPool& pool) {
  const ops::AttentionDims& dims = args.dims;
  if (dims.HS == 0) return;
  const std::int64_t num_query_blocks = ceil_div(dims.T, kQueryBlock);
  const std::size_t thread_bytes = QueryBlock::scratch_bytes(dims.HS);
  // In the order of attention_forward_float32().
  pool.parallel_for(dims.B * dims.NH * num_query_blocks, [&](std::int64_t task) {
    const std::int64_t unit = task / num_query_blocks;
    const std::int64_t query_block = num_query_blocks - 1 - task % num_query_blocks;
    const auto thread = static_cast<std::size_t>(ThreadPool::thread_index());
    forward_block(args, HeadLayout(dims, unit / dims.NH, unit % dims.NH), query_block * kQueryBlock,
                  static_cast<std::byte*>(args.scratch) + thread * thread_bytes);
  });
}

std::size_t attention_forward_pairs_scratch_bytes(const ops::AttentionDims& dims,
                                                  DType /*dtype*/,
                                                  const ThreadPool& pool) {
  return QueryBlock::scratch_bytes(dims.HS) * static_cast<std::size_t>(pool.num_threads());
}

}  // namespace halfpipe::cpu
