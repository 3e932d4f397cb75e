// SPDX-License-Identifier: Apache-2.0
// Flash attention, backward, by the formulas of attention_float32_backward.cpp: a task is one head.
// Five products for each block of queries (l) and of keys (j): two of them sum over components and
// read k and v where they lie in qkv; dq sums over keys, dk and dv over queries, and their operands
// are interleaved here.
// B=8 T=256 NH=6 HS=64 on one core of an AMD EPYC (Zen 4): 108 GFLOP/s, the half above the diagonal
// not counted; in float32 66.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/align.h"
#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/attention_pairs.h"
#include "kernels/cpu/attention_pairs_block.h"
#include "kernels/cpu/bfloat16_pairs.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace halfpipe::cpu {
namespace {

/// One thread's scratch. dk and dv live here until the head is done, because they take the place of
/// keys and values that later blocks still read when dqkv is qkv.
struct BackwardScratch {
  std::int64_t row;   // head size rounded up to whole vectors
  float* dk;          // [T, row], without scale
  float* dv;          // [T, row]
  float* dq_t;        // [HS, kQueryBlock], without scale
  float* p;           // [kKeyBlock, kQueryBlock]
  float* ds;          // [kKeyBlock, kQueryBlock]
  float* rows;        // [kQueryBlock, HS] of any operand
  BFloat16* k;        // [T / 2, HS, 2], of all keys
  BFloat16* q;        // [kQueryBlock / 2, row, 2]
  BFloat16* dout;     // [kQueryBlock / 2, row, 2]
  BFloat16* q_t;      // [HS / 2, kQueryBlock, 2]
  BFloat16* dout_t;   // [HS / 2, kQueryBlock, 2]
  BFloat16* p_rows;   // [kKeyBlock, kQueryBlock]
  BFloat16* ds_rows;  // [kKeyBlock, kQueryBlock]
  BFloat16* ds_t;     // [kKeyBlock / 2, kQueryBlock, 2]
  alignas(64) float lse[kQueryBlock];
  alignas(64) float delta[kQueryBlock];

  BackwardScratch(std::byte* base, const ops::AttentionDims& dims)
      : row(round_up(dims.HS, kLanes)) {
    ScratchCutter scratch(base);
    dk = scratch.take<float>(dims.T * row);
    dv = scratch.take<float>(dims.T * row);
    dq_t = scratch.take<float>(dims.HS * kQueryBlock);
    p = scratch.take<float>(kKeyBlock * kQueryBlock);
    ds = scratch.take<float>(kKeyBlock * kQueryBlock);
    rows = scratch.take<float>(kQueryBlock * dims.HS);
    k = scratch.take<BFloat16>(round_up(dims.T, std::int64_t{2}) * dims.HS);
    q = scratch.take<BFloat16>(kQueryBlock * row);
    dout = scratch.take<BFloat16>(kQueryBlock * row);
    q_t = scratch.take<BFloat16>(dims.HS * kQueryBlock);
    dout_t = scratch.take<BFloat16>(dims.HS * kQueryBlock);
    p_rows = scratch.take<BFloat16>(kKeyBlock * kQueryBlock);
    ds_rows = scratch.take<BFloat16>(kKeyBlock * kQueryBlock);
    ds_t = scratch.take<BFloat16>(kKeyBlock * kQueryBlock);
    bytes_ = scratch.bytes();
  }
  static std::size_t bytes(const ops::AttentionDims& dims) {
    return BackwardScratch(nullptr, dims).bytes_;
  }

 private:
  std::size_t bytes_;
};

/// Rows of queries twice: interleaved, with zeros up to kQueryBlock rows of s.row, and transposed.
void load_rows(const BFloat16* rows,
               std::int64_t row_stride,
               std::int64_t num_rows,
               std::int64_t HS,
               const BackwardScratch& s,
               BFloat16* pairs,
               BFloat16* transposed) {
  if (num_rows < kQueryBlock || HS < s.row) {
    std::fill_n(pairs, kQueryBlock * s.row, BFloat16{});
  }
  interleave_rows(rows, row_stride, num_rows, HS, pairs, 2 * s.row);
  transpose_pairs(rows, row_stride, num_rows, HS, s.rows, transposed);
}

void load_queries(const ops::AttentionBackwardInput& args,
                  const HeadLayout& head,
                  std::int64_t first_query,
                  std::int64_t num_queries,
                  BackwardScratch& s) {
  const std::int64_t HS = args.dims.HS;
  const std::int64_t first_out = head.out + first_query * head.part;
  const BFloat16* const dout = static_cast<const BFloat16*>(args.dout) + first_out;
  const BFloat16* const out = static_cast<const BFloat16*>(args.out) + first_out;
  load_rows(static_cast<const BFloat16*>(args.qkv) + head.q + first_query * head.qkv_stride,
            head.qkv_stride, num_queries, HS, s, s.q, s.q_t);
  load_rows(dout, head.part, num_queries, HS, s, s.dout, s.dout_t);
  // Lanes without a query get probability exp(-inf) = 0.
  std::fill_n(s.lse, kQueryBlock, std::numeric_limits<float>::infinity());
  std::fill_n(s.delta, kQueryBlock, 0.0F);
  std::copy_n(args.lse + head.lse + first_query, num_queries, s.lse);
  for (std::int64_t l = 0; l < num_queries; ++l) {
    Lanes delta{};
    for_each_lanes(0, HS, [&](std::int64_t d, auto width) {
      delta += load(dout + l * head.part + d, width) * load(out + l * head.part + d, width);
    });
    s.delta[l] = sum(delta);
  }
}

/// p: scores without scale -> probabilities; ds: v . dout -> gradient of the scaled scores; both in
/// bfloat16, too.
void differentiate_softmax(const BackwardScratch& s, std::int64_t num_keys, float scale) {
  for (std::int64_t j = 0; j < num_keys; ++j) {
    float* const p = s.p + j * kQueryBlock;
    float* const ds = s.ds + j * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) {
      p[l] = exp_below(scale * p[l] - s.lse[l]);
      ds[l] = p[l] * (ds[l] - s.delta[l]);
    }
  }
  round_lanes(s.p, num_keys * kQueryBlock, s.p_rows);
  round_lanes(s.ds, num_keys * kQueryBlock, s.ds_rows);
  interleave_rows(s.ds_rows, kQueryBlock, num_keys, kQueryBlock, s.ds_t, 2 * kQueryBlock);
}

void visit_keys(const ops::AttentionBackwardInput& args,
                const HeadLayout& head,
                std::int64_t first_query,
                float scale,
                const BackwardScratch& s) {
  const std::int64_t HS = args.dims.HS;
  const std::int64_t end_key = std::min(first_query + kQueryBlock, args.dims.T);
  for (std::int64_t first_key = 0; first_key < end_key; first_key += kKeyBlock) {
    const std::int64_t num_keys = std::min(kKeyBlock, end_key - first_key);
    const BFloat16* const k =
        static_cast<const BFloat16*>(args.qkv) + head.q + head.part + first_key * head.qkv_stride;
    pair_product({s.p, kQueryBlock, k, head.qkv_stride, 2, s.q_t, 2 * kQueryBlock, num_keys,
                  kQueryBlock, HS / 2, /*accumulate=*/false});
    mask_future_keys(s.p, first_key, num_keys, first_query);
    pair_product({s.ds, kQueryBlock, k + head.part, head.qkv_stride, 2, s.dout_t, 2 * kQueryBlock,
                  num_keys, kQueryBlock, HS / 2, /*accumulate=*/false});
    differentiate_softmax(s, num_keys, scale);
    pair_product({s.dq_t, kQueryBlock, s.k + first_key * HS, 2, 2 * HS, s.ds_t, 2 * kQueryBlock, HS,
                  kQueryBlock, ceil_div(num_keys, std::int64_t{2}),
                  /*accumulate=*/first_key != 0});
    pair_product({s.dk + first_key * s.row, s.row, s.ds_rows, kQueryBlock, 2, s.q, 2 * s.row,
                  num_keys, s.row, kQueryBlock / 2, /*accumulate=*/true});
    pair_product({s.dv + first_key * s.row, s.row, s.p_rows, kQueryBlock, 2, s.dout, 2 * s.row,
                  num_keys, s.row, kQueryBlock / 2, /*accumulate=*/true});
  }
}

/// From the first block of queries to the last: block i writes its dq over queries that no later
/// block reads.
void backward_head(const ops::AttentionBackwardInput& args,
                   const HeadLayout& head,
                   std::byte* base) {
  const ops::AttentionDims& dims = args.dims;
  const float scale = 1.0F / std::sqrt(static_cast<float>(dims.HS));
  const BFloat16* const qkv = static_cast<const BFloat16*>(args.qkv) + head.q;
  BFloat16* const dqkv = static_cast<BFloat16*>(args.dqkv) + head.q;
  BackwardScratch s(base, dims);
  std::fill_n(s.dk, dims.T * s.row, 0.0F);
  std::fill_n(s.dv, dims.T * s.row, 0.0F);
  interleave_rows(qkv + head.part, head.qkv_stride, dims.T, dims.HS, s.k, 2 * dims.HS);
  alignas(64) float scales[kQueryBlock];
  std::fill_n(scales, kQueryBlock, scale);
  for (std::int64_t first_query = 0; first_query < dims.T; first_query += kQueryBlock) {
    const std::int64_t num_queries = std::min(kQueryBlock, dims.T - first_query);
    load_queries(args, head, first_query, num_queries, s);
    visit_keys(args, head, first_query, scale, s);
    write_rows(dqkv + first_query * head.qkv_stride, head.qkv_stride, s.dq_t, scales, num_queries,
               dims.HS, /*unrounded=*/s.rows);
  }
  for (std::int64_t t = 0; t < dims.T; ++t) {
    BFloat16* const dk = dqkv + head.part + t * head.qkv_stride;
    for_each_lanes(0, dims.HS, [&](std::int64_t d, auto width) {
      store(dk + d, scale * load(s.dk + t * s.row + d, width), width);
    });
    convert(s.dv + t * s.row, dims.HS, dk + head.part);
  }
}

}  // namespace

void attention_backward_input_pairs(const ops::AttentionBackwardInput& args, ThreadPool& pool) {
  const ops::AttentionDims& dims = args.dims;
  if (dims.HS == 0) return;
  const std::size_t thread_bytes = BackwardScratch::bytes(dims);
  pool.parallel_for(dims.B * dims.NH, [&](std::int64_t task) {
    const auto thread = static_cast<std::size_t>(ThreadPool::thread_index());
    backward_head(args, HeadLayout(dims, task / dims.NH, task % dims.NH),
                  static_cast<std::byte*>(args.scratch) + thread * thread_bytes);
  });
}

std::size_t attention_backward_pairs_scratch_bytes(const ops::AttentionDims& dims,
                                                   DType /*dtype*/,
                                                   const ThreadPool& pool) {
  return BackwardScratch::bytes(dims) * static_cast<std::size_t>(pool.num_threads());
}

}  // namespace halfpipe::cpu
