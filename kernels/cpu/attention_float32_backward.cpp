// SPDX-License-Identifier: Apache-2.0
// Flash attention, backward: a task is one head. For each block of queries (l) and of keys (j),
// with probabilities recomputed from lse and delta[l] = sum_d dout[l, d] out[l, d]:
//   p[j, l]  = exp(scale k[j] . q[l] - lse[l])
//   ds[j, l] = p[j, l] (v[j] . dout[l] - delta[l])
//   dq[l] += scale sum_j ds[j, l] k[j];  dk[j] += scale sum_l ds[j, l] q[l];
//   dv[j] += sum_l p[j, l] dout[l]
// B=8 T=256 NH=6 HS=64 on two cores of an AMD EPYC (Zen 3, AVX2): 76 GFLOP/s, the half above the
// diagonal not counted.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/align.h"
#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/attention_float32.h"
#include "kernels/cpu/block_product.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/widen.h"

namespace halfpipe::cpu {
namespace {

/// Head size rounded up to whole vectors: rows of dk, dv and of the row-major copies.
std::int64_t row_floats(std::int64_t HS) {
  return round_up(HS, kLanes);
}

/// One thread's scratch. dk and dv live here until the head is done, because they take the place of
/// keys and values that later blocks still read when dqkv is qkv.
struct BackwardScratch {
  float* dk;         // [T, row]
  float* dv;         // [T, row]
  float* q;          // [kQueryBlock, row], scaled
  float* dout;       // [kQueryBlock, row]
  float* q_t;        // [HS, kQueryBlock], scaled; at the end of a block, rows of dq
  float* dout_t;     // [HS, kQueryBlock]
  float* dq_t;       // [HS, kQueryBlock], without scale
  float* p;          // [kKeyBlock, kQueryBlock]
  float* ds;         // [kKeyBlock, kQueryBlock]
  float* k;          // [kKeyBlock, HS], widened; also for other rows, while it holds no keys
  float* v;          // [kKeyBlock, HS], widened; also for other rows, while it holds no values
  std::int64_t row;  // row_floats(HS)
  alignas(64) float lse[kQueryBlock];
  alignas(64) float delta[kQueryBlock];

  BackwardScratch(float* base, const ops::AttentionDims& dims, DType dtype)
      : row(row_floats(dims.HS)) {
    const auto take = [&base](std::int64_t count) {
      float* const taken = base;
      base += count;
      return taken;
    };
    dk = take(dims.T * row);
    dv = take(dims.T * row);
    q = take(kQueryBlock * row);
    dout = take(kQueryBlock * row);
    q_t = take(dims.HS * kQueryBlock);
    dout_t = take(dims.HS * kQueryBlock);
    dq_t = take(dims.HS * kQueryBlock);
    p = take(kKeyBlock * kQueryBlock);
    ds = take(kKeyBlock * kQueryBlock);
    k = take(widened_floats(dims, dtype));
    v = take(widened_floats(dims, dtype));
  }
  /// Of k, and of v.
  static std::int64_t widened_floats(const ops::AttentionDims& dims, DType dtype) {
    return dtype == DType::kBFloat16 ? kKeyBlock * dims.HS : 0;
  }
  static std::size_t bytes(const ops::AttentionDims& dims, DType dtype) {
    const std::int64_t floats = 2 * (dims.T + kQueryBlock) * row_floats(dims.HS) +
                                (3 * dims.HS + 2 * kKeyBlock) * kQueryBlock +
                                2 * widened_floats(dims, dtype);
    return padded_bytes(static_cast<std::size_t>(floats) * sizeof(float));
  }
};

/// padded[l, 0 .. row) = scale * rows[l, 0 .. HS), then zeros, which the products over lanes need.
void copy_rows(
    float* padded, const FloatRows& source, std::int64_t num_rows, std::int64_t HS, float scale) {
  const std::int64_t row = row_floats(HS);
  const auto [rows, row_stride] = source;
  for (std::int64_t l = 0; l < num_rows; ++l) {
    for (std::int64_t d = 0; d < HS; ++d) padded[l * row + d] = scale * rows[l * row_stride + d];
    std::fill(padded + l * row + HS, padded + (l + 1) * row, 0.0F);
  }
  std::fill(padded + num_rows * row, padded + kQueryBlock * row, 0.0F);
}

template <typename T>
void load_queries(const ops::AttentionBackwardInput& args,
                  const HeadLayout& head,
                  std::int64_t first_query,
                  std::int64_t num_queries,
                  BackwardScratch& s) {
  const std::int64_t HS = args.dims.HS;
  const float scale = 1.0F / std::sqrt(static_cast<float>(HS));
  const std::int64_t first_out = head.out + first_query * head.part;
  const FloatRows q =
      as_float_rows(static_cast<const T*>(args.qkv) + head.q + first_query * head.qkv_stride,
                    head.qkv_stride, num_queries, HS, s.k);
  copy_rows(s.q, q, num_queries, HS, scale);
  const FloatRows dout =
      as_float_rows(static_cast<const T*>(args.dout) + first_out, head.part, num_queries, HS, s.k);
  copy_rows(s.dout, dout, num_queries, HS, 1.0F);
  const FloatRows out =
      as_float_rows(static_cast<const T*>(args.out) + first_out, head.part, num_queries, HS, s.v);
  transpose_block(s.q_t, s.q, s.row, kQueryBlock, HS, 1.0F);
  transpose_block(s.dout_t, s.dout, s.row, kQueryBlock, HS, 1.0F);
  // Lanes without a query get probability exp(-inf) = 0.
  std::fill_n(s.lse, kQueryBlock, std::numeric_limits<float>::infinity());
  std::fill_n(s.delta, kQueryBlock, 0.0F);
  std::copy_n(args.lse + head.lse + first_query, num_queries, s.lse);
  for (std::int64_t l = 0; l < num_queries; ++l) {
    Lanes delta{};
    for_each_lanes(0, HS, [&](std::int64_t d, auto width) {
      delta +=
          load(dout.rows + l * dout.stride + d, width) * load(out.rows + l * out.stride + d, width);
    });
    s.delta[l] = sum(delta);
  }
}

/// p: scores -> probabilities; ds: v . dout -> gradient of the scores.
void differentiate_softmax(const BackwardScratch& s, std::int64_t num_keys) {
  for (std::int64_t j = 0; j < num_keys; ++j) {
    float* const p = s.p + j * kQueryBlock;
    float* const ds = s.ds + j * kQueryBlock;
    for (std::int64_t l = 0; l < kQueryBlock; ++l) {
      p[l] = exp_approx(p[l] - s.lse[l]);
      ds[l] = p[l] * (ds[l] - s.delta[l]);
    }
  }
}

template <typename T>
void visit_keys(const ops::AttentionBackwardInput& args,
                const HeadLayout& head,
                std::int64_t first_query,
                const BackwardScratch& s) {
  const std::int64_t HS = args.dims.HS;
  const std::int64_t end_key = std::min(first_query + kQueryBlock, args.dims.T);
  for (std::int64_t first_key = 0; first_key < end_key; first_key += kKeyBlock) {
    const std::int64_t num_keys = std::min(kKeyBlock, end_key - first_key);
    const T* const key =
        static_cast<const T*>(args.qkv) + head.q + head.part + first_key * head.qkv_stride;
    const FloatRows k = as_float_rows(key, head.qkv_stride, num_keys, HS, s.k);
    const FloatRows v = as_float_rows(key + head.part, head.qkv_stride, num_keys, HS, s.v);
    block_product({s.p, kQueryBlock, k.rows, k.stride, 1, s.q_t, kQueryBlock, num_keys, kQueryBlock,
                   HS, /*accumulate=*/false});
    mask_future_keys(s.p, first_key, num_keys, first_query);
    block_product({s.ds, kQueryBlock, v.rows, v.stride, 1, s.dout_t, kQueryBlock, num_keys,
                   kQueryBlock, HS, /*accumulate=*/false});
    differentiate_softmax(s, num_keys);
    block_product({s.dq_t, kQueryBlock, k.rows, 1, k.stride, s.ds, kQueryBlock, HS, kQueryBlock,
                   num_keys, /*accumulate=*/first_key != 0});
    block_product({s.dk + first_key * s.row, s.row, s.ds, kQueryBlock, 1, s.q, s.row, num_keys,
                   s.row, kQueryBlock, /*accumulate=*/true});
    block_product({s.dv + first_key * s.row, s.row, s.p, kQueryBlock, 1, s.dout, s.row, num_keys,
                   s.row, kQueryBlock, /*accumulate=*/true});
  }
}

/// From the first block of queries to the last: block i writes its dq over queries that no later
/// block reads.
template <typename T>
void backward_head(const ops::AttentionBackwardInput& args, const HeadLayout& head, float* base) {
  const ops::AttentionDims& dims = args.dims;
  BackwardScratch s(base, dims, args.dtype);
  std::fill_n(s.dk, 2 * dims.T * s.row, 0.0F);
  alignas(64) float scales[kQueryBlock];
  std::fill_n(scales, kQueryBlock, 1.0F / std::sqrt(static_cast<float>(dims.HS)));
  for (std::int64_t first_query = 0; first_query < dims.T; first_query += kQueryBlock) {
    const std::int64_t num_queries = std::min(kQueryBlock, dims.T - first_query);
    load_queries<T>(args, head, first_query, num_queries, s);
    visit_keys<T>(args, head, first_query, s);
    write_rows(static_cast<T*>(args.dqkv) + head.q + first_query * head.qkv_stride, head.qkv_stride,
               s.dq_t, scales, num_queries, dims.HS, /*unrounded=*/s.q_t);
  }
  for (std::int64_t t = 0; t < dims.T; ++t) {
    T* const dk = static_cast<T*>(args.dqkv) + head.q + head.part + t * head.qkv_stride;
    convert(s.dk + t * s.row, dims.HS, dk);
    convert(s.dv + t * s.row, dims.HS, dk + head.part);
  }
}

}  // namespace

void attention_backward_input_float32(const ops::AttentionBackwardInput& args, ThreadPool& pool) {
  const ops::AttentionDims& dims = args.dims;
  if (dims.HS == 0) return;
  const std::size_t thread_bytes = BackwardScratch::bytes(dims, args.dtype);
  const auto run_head =
      args.dtype == DType::kBFloat16 ? backward_head<BFloat16> : backward_head<float>;
  pool.parallel_for(dims.B * dims.NH, [&](std::int64_t task) {
    const auto thread = static_cast<std::size_t>(ThreadPool::thread_index());
    auto* const base =
        reinterpret_cast<float*>(static_cast<std::byte*>(args.scratch) + thread * thread_bytes);
    run_head(args, HeadLayout(dims, task / dims.NH, task % dims.NH), base);
  });
}

std::size_t attention_backward_float32_scratch_bytes(const ops::AttentionDims& dims,
                                                     DType dtype,
                                                     const ThreadPool& pool) {
  return BackwardScratch::bytes(dims, dtype) * static_cast<std::size_t>(pool.num_threads());
}

}  // namespace halfpipe::cpu
