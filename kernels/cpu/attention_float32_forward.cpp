// SPDX-License-Identifier: Apache-2.0
// Flash attention, forward: a task is one block of queries of one head, which meets its keys block
// by block (online softmax, Milakov and Gimelshein 2018, arXiv:1805.02867).
// B=8 T=256 NH=6 HS=64 on two cores of an AMD EPYC (Zen 3, AVX2): 91 GFLOP/s, the half above the
// diagonal not counted (halfpipe bench ops).
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/align.h"
#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/attention_float32.h"
#include "kernels/cpu/block_product.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/widen.h"

namespace halfpipe::cpu {
namespace {

/// State of one block of queries. Pointers lead into the thread's scratch.
struct QueryBlock {
  float* q;       // [HS, kQueryBlock], scaled; at the end, rows of out
  float* out;     // [HS, kQueryBlock], not yet divided by sum
  float* scores;  // [kKeyBlock, kQueryBlock]
  float* rows;    // [kKeyBlock, HS] of q, k or v, widened
  alignas(64) float max[kQueryBlock];
  alignas(64) float sum[kQueryBlock];

  QueryBlock(float* scratch, std::int64_t HS)
      : q(scratch),
        out(q + HS * kQueryBlock),
        scores(out + HS * kQueryBlock),
        rows(scores + kKeyBlock * kQueryBlock) {
    std::fill_n(max, kQueryBlock, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, kQueryBlock, 0.0F);
  }
  static std::size_t scratch_floats(std::int64_t HS, DType dtype) {
    const std::int64_t rows = dtype == DType::kBFloat16 ? kKeyBlock * HS : 0;
    return static_cast<std::size_t>((2 * HS + kKeyBlock) * kQueryBlock + rows);
  }
};

/// scores <- exp(scores - max) with the maximum so far; sum and out follow to the new maximum.
void update_softmax(QueryBlock& block, std::int64_t num_keys, std::int64_t HS) {
  alignas(64) float new_max[kQueryBlock];
  alignas(64) float correction[kQueryBlock];
  std::copy_n(block.max, kQueryBlock, new_max);
  for (std::int64_t j = 0; j < num_keys; ++j) {
    const float* const row = block.scores + j * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) {
      new_max[l] = row[l] > new_max[l] ? row[l] : new_max[l];
    }
  }
  for (std::int64_t l = 0; l < kQueryBlock; ++l) {
    correction[l] = exp_approx(block.max[l] - new_max[l]);
    block.sum[l] *= correction[l];
    block.max[l] = new_max[l];
  }
  for (std::int64_t j = 0; j < num_keys; ++j) {
    float* const row = block.scores + j * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) {
      row[l] = exp_approx(row[l] - new_max[l]);
      block.sum[l] += row[l];
    }
  }
  for (std::int64_t d = 0; d < HS; ++d) {
    float* const row = block.out + d * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) row[l] *= correction[l];
  }
}

template <typename T>
void visit_keys(const ops::AttentionForward& args,
                const HeadLayout& head,
                std::int64_t first_query,
                QueryBlock& block) {
  const std::int64_t HS = args.dims.HS;
  const std::int64_t end_key = std::min(first_query + kQueryBlock, args.dims.T);
  for (std::int64_t first_key = 0; first_key < end_key; first_key += kKeyBlock) {
    const std::int64_t num_keys = std::min(kKeyBlock, end_key - first_key);
    const T* const key =
        static_cast<const T*>(args.qkv) + head.q + head.part + first_key * head.qkv_stride;
    const FloatRows k = as_float_rows(key, head.qkv_stride, num_keys, HS, block.rows);
    // scores[j, l] = sum_d k[j, d] q[l, d]
    block_product({block.scores, kQueryBlock, k.rows, k.stride, 1, block.q, kQueryBlock, num_keys,
                   kQueryBlock, HS, /*accumulate=*/false});
    mask_future_keys(block.scores, first_key, num_keys, first_query);
    update_softmax(block, num_keys, first_key == 0 ? 0 : HS);
    const FloatRows v = as_float_rows(key + head.part, head.qkv_stride, num_keys, HS, block.rows);
    // out[d, l] (+)= sum_j v[j, d] scores[j, l]
    block_product({block.out, kQueryBlock, v.rows, 1, v.stride, block.scores, kQueryBlock, HS,
                   kQueryBlock, num_keys, /*accumulate=*/first_key != 0});
  }
}

template <typename T>
void forward_block(const ops::AttentionForward& args,
                   const HeadLayout& head,
                   std::int64_t first_query,
                   float* scratch) {
  const std::int64_t HS = args.dims.HS;
  const std::int64_t num_queries = std::min(kQueryBlock, args.dims.T - first_query);
  QueryBlock block(scratch, HS);
  const FloatRows q =
      as_float_rows(static_cast<const T*>(args.qkv) + head.q + first_query * head.qkv_stride,
                    head.qkv_stride, num_queries, HS, block.rows);
  transpose_block(block.q, q.rows, q.stride, num_queries, HS,
                  1.0F / std::sqrt(static_cast<float>(HS)));
  visit_keys<T>(args, head, first_query, block);
  alignas(64) float factors[kQueryBlock];
  for (std::int64_t l = 0; l < num_queries; ++l) {
    factors[l] = 1.0F / block.sum[l];
    args.lse[head.lse + first_query + l] = block.max[l] + std::log(block.sum[l]);
  }
  write_rows(static_cast<T*>(args.out) + head.out + first_query * head.part, head.part, block.out,
             factors, num_queries, HS, /*unrounded=*/block.q);
}

std::size_t thread_scratch_bytes(const ops::AttentionDims& dims, DType dtype) {
  return padded_bytes(QueryBlock::scratch_floats(dims.HS, dtype) * sizeof(float));
}

}  // namespace

void attention_forward_float32(const ops::AttentionForward& args, ThreadPool& pool) {
  const ops::AttentionDims& dims = args.dims;
  if (dims.HS == 0) return;
  const std::int64_t num_heads = dims.B * dims.NH;
  const std::int64_t num_query_blocks = ceil_div(dims.T, kQueryBlock);
  const std::size_t thread_bytes = thread_scratch_bytes(dims, args.dtype);
  const auto run_block =
      args.dtype == DType::kBFloat16 ? forward_block<BFloat16> : forward_block<float>;
  // Blocks of one head follow each other, its keys and values are in cache then; the last block
  // has the most keys and goes first, so that threads end together.
  pool.parallel_for(num_heads * num_query_blocks, [&](std::int64_t task) {
    const std::int64_t unit = task / num_query_blocks;
    const std::int64_t query_block = num_query_blocks - 1 - task % num_query_blocks;
    const auto thread = static_cast<std::size_t>(ThreadPool::thread_index());
    auto* const scratch =
        reinterpret_cast<float*>(static_cast<std::byte*>(args.scratch) + thread * thread_bytes);
    run_block(args, HeadLayout(dims, unit / dims.NH, unit % dims.NH), query_block * kQueryBlock,
              scratch);
  });
}

std::size_t attention_forward_float32_scratch_bytes(const ops::AttentionDims& dims,
                                                    DType dtype,
                                                    const ThreadPool& pool) {
  return thread_scratch_bytes(dims, dtype) * static_cast<std::size_t>(pool.num_threads());
}

}  // namespace halfpipe::cpu
