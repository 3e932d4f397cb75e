// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cudnn_attention_graph.h"

#include <cmath>
#include <limits>

namespace halfpipe::cuda {
namespace {

using Id = CudnnAttentionId;

// Axes of the scores, and the types of tensors.
constexpr std::int64_t kQueryAxis = 2;
constexpr std::int64_t kKeyAxis = 3;
constexpr cudnnDataType_t kFloat = CUDNN_DATA_FLOAT;
constexpr cudnnDataType_t kHalf = CUDNN_DATA_BFLOAT16;

/// Shapes and strides, all in the order [B, NH, ., .].
struct Layout {
  explicit Layout(const ops::AttentionDims& d)
      : heads{d.B, d.NH, d.T, d.HS},
        heads_transposed{d.B, d.NH, d.HS, d.T},
        scores{d.B, d.NH, d.T, d.T},
        rows{d.B, d.NH, d.T, 1},
        in_qkv{d.T * 3 * d.NH * d.HS, d.HS, 3 * d.NH * d.HS, 1},
        in_qkv_transposed{in_qkv[0], in_qkv[1], in_qkv[3], in_qkv[2]},
        in_out{d.T * d.NH * d.HS, d.HS, d.NH * d.HS, 1},
        in_lse{d.NH * d.T, d.T, 1, 1},
        scores_transposed{d.NH * d.T * d.T, d.T * d.T, 1, d.T},
        scale(1.0F / std::sqrt(static_cast<float>(d.HS))) {}

  CudnnShape heads;
  CudnnShape heads_transposed;
  CudnnShape scores;
  CudnnShape rows;
  CudnnShape in_qkv;  // strides from here on
  CudnnShape in_qkv_transposed;
  CudnnShape in_out;
  CudnnShape in_lse;
  CudnnShape scores_transposed;
  float scale;
};

/// s[i, j] where j <= i, else -infinity.
CudnnTensor masked(CudnnGraph& graph, const Layout& l, CudnnTensor scores) {
  const CudnnTensor row =
      graph.index(graph.between(CUDNN_DATA_INT32, l.scores), scores, kQueryAxis);
  const CudnnTensor column =
      graph.index(graph.between(CUDNN_DATA_INT32, l.scores), scores, kKeyAxis);
  const CudnnTensor is_past = graph.compare(
      CUDNN_POINTWISE_CMP_GE, graph.between(CUDNN_DATA_BOOLEAN, l.scores), row, column);
  return graph.select(graph.between(kFloat, l.scores), is_past, scores,
                      graph.constant(-std::numeric_limits<float>::infinity()));
}

}  // namespace

CudnnGraph attention_forward_graph(const CudnnLibrary& library, const ops::AttentionDims& dims) {
  const Layout l(dims);
  CudnnGraph graph(library);
  const CudnnTensor q = graph.in_memory(Id::kQ, kHalf, l.heads, l.in_qkv);
  const CudnnTensor k = graph.in_memory(Id::kK, kHalf, l.heads_transposed, l.in_qkv_transposed);
  const CudnnTensor v = graph.in_memory(Id::kV, kHalf, l.heads, l.in_qkv);
  const CudnnTensor out = graph.in_memory(Id::kOut, kHalf, l.heads, l.in_out);
  const CudnnTensor lse = graph.in_memory(Id::kLse, kFloat, l.rows, l.in_lse);
  const auto square = [&] { return graph.between(kFloat, l.scores); };
  const auto per_row = [&] { return graph.between(kFloat, l.rows); };

  const CudnnTensor products = graph.matmul(square(), q, k);
  const CudnnTensor scores =
      graph.pointwise(CUDNN_POINTWISE_MUL, square(), products, graph.constant(l.scale));
  const CudnnTensor s = masked(graph, l, scores);
  const CudnnTensor largest = graph.reduce(CUDNN_REDUCE_TENSOR_MAX, per_row(), s);
  const CudnnTensor below = graph.pointwise(CUDNN_POINTWISE_SUB, square(), s, largest);
  const CudnnTensor exponentials = graph.pointwise(CUDNN_POINTWISE_EXP, square(), below);
  const CudnnTensor sum = graph.reduce(CUDNN_REDUCE_TENSOR_ADD, per_row(), exponentials);
  const CudnnTensor log = graph.pointwise(CUDNN_POINTWISE_LOG, per_row(), sum);
  graph.pointwise(CUDNN_POINTWISE_ADD, lse, largest, log);
  const CudnnTensor p =
      graph.pointwise(CUDNN_POINTWISE_DIV, graph.between(kHalf, l.scores), exponentials, sum);
  graph.matmul(out, p, v);
  return graph;
}

CudnnGraph attention_backward_graph(const CudnnLibrary& library, const ops::AttentionDims& dims) {
  const Layout l(dims);
  CudnnGraph graph(library);
  const CudnnTensor q = graph.in_memory(Id::kQ, kHalf, l.heads, l.in_qkv);
  const CudnnTensor k = graph.in_memory(Id::kK, kHalf, l.heads_transposed, l.in_qkv_transposed);
  const CudnnTensor v = graph.in_memory(Id::kV, kHalf, l.heads_transposed, l.in_qkv_transposed);
  const CudnnTensor out = graph.in_memory(Id::kOut, kHalf, l.heads, l.in_out);
  const CudnnTensor dout = graph.in_memory(Id::kDOut, kHalf, l.heads, l.in_out);
  const CudnnTensor lse = graph.in_memory(Id::kLse, kFloat, l.rows, l.in_lse);
  const CudnnTensor delta = graph.in_memory(Id::kDelta, kFloat, l.rows, l.in_lse);
  const CudnnTensor dq = graph.in_memory(Id::kDQ, kHalf, l.heads, l.in_qkv);
  const CudnnTensor dk = graph.in_memory(Id::kDK, kHalf, l.heads, l.in_qkv);
  const CudnnTensor dv = graph.in_memory(Id::kDV, kHalf, l.heads, l.in_qkv);
  const CudnnTensor scale = graph.constant(l.scale);
  const auto square = [&] { return graph.between(kFloat, l.scores); };
  const auto square_transposed = [&] {
    return graph.between(kHalf, l.scores, l.scores_transposed);
  };

  // delta = sum over a row of dout * out. The product with 1 is where NVIDIA's graph has a scale of
  // dropout; without it 9.19 takes an engine that keeps three times as much in its workspace.
  const CudnnTensor dout_out =
      graph.pointwise(CUDNN_POINTWISE_MUL, graph.between(kFloat, l.heads), dout, out);
  const CudnnTensor sum =
      graph.reduce(CUDNN_REDUCE_TENSOR_ADD, graph.between(kFloat, l.rows), dout_out);
  graph.pointwise(CUDNN_POINTWISE_MUL, delta, sum, graph.constant(1.0F));

  // p = exp(s - lse), dv = p^T dout
  const CudnnTensor products = graph.matmul(square(), q, k);
  const CudnnTensor scores = graph.pointwise(CUDNN_POINTWISE_MUL, square(), products, scale);
  const CudnnTensor below = graph.pointwise(CUDNN_POINTWISE_SUB, square(), scores, lse);
  const CudnnTensor p = graph.pointwise(CUDNN_POINTWISE_EXP, square(), masked(graph, l, below));
  graph.matmul(dv, graph.transpose(square_transposed(), p), dout);

  // ds = p * (dout v^T - delta) * scale
  const CudnnTensor dp = graph.matmul(square(), dout, v);
  const CudnnTensor above = graph.pointwise(CUDNN_POINTWISE_SUB, square(), dp, delta);
  const CudnnTensor unscaled = graph.pointwise(CUDNN_POINTWISE_MUL, square(), above, p);
  const CudnnTensor ds = graph.pointwise(CUDNN_POINTWISE_MUL, square(), unscaled, scale);

  // dk = ds^T q, dq = ds k
  graph.matmul(dk, graph.transpose(square_transposed(), ds), q);
  graph.matmul(dq, ds, graph.transpose(graph.between(kFloat, l.heads, l.in_qkv), k));
  return graph;
}

}  // namespace halfpipe::cuda
