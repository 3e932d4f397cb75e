// SPDX-License-Identifier: Apache-2.0
#include "kernels/ops/op_cost.h"

#include <cstdint>

namespace halfpipe::ops {
namespace {

constexpr double kBytesPerElement = 4.0;  // float32, and token ids

double product(std::int64_t one, std::int64_t other) {
  return static_cast<double>(one) * static_cast<double>(other);
}

double times_if(const void* pointer_or_null, std::int64_t elements) {
  return pointer_or_null == nullptr ? 0.0 : static_cast<double>(elements);
}

OpCost elements_moved(double elements) {
  return {0.0, kBytesPerElement * elements};
}

/// One product of [T, HS] with [HS, T] per head, its masked half left out.
double causal_product_flops(const AttentionDims& dims) {
  return product(dims.B, dims.NH) * product(dims.T, dims.T) * static_cast<double>(dims.HS);
}

/// [B, T, NH, HS]
double head_elements(const AttentionDims& dims) {
  return product(dims.B, dims.T) * product(dims.NH, dims.HS);
}

/// [B, NH, T]
double row_elements(const AttentionDims& dims) {
  return product(dims.B, dims.T) * static_cast<double>(dims.NH);
}

}  // namespace

OpCost cost_of(const EmbeddingForward& args) {
  const double out = product(args.B, args.T) * static_cast<double>(args.C);
  return elements_moved(2.0 * out + product(args.T, args.C) + product(args.B, args.T));
}

OpCost cost_of(const EmbeddingBackwardWeight& args) {
  const double dout = product(args.B, args.T) * static_cast<double>(args.C);
  return elements_moved(3.0 * dout + 2.0 * product(args.T, args.C) + product(args.B, args.T));
}

OpCost cost_of(const LayerNormForward& args) {
  const double parameters = static_cast<double>(args.C) + times_if(args.bias_or_null, args.C);
  return elements_moved(2.0 * product(args.N, args.C) + product(args.N, 2) + parameters);
}

OpCost cost_of(const LayerNormBackwardInput& args) {
  const double rows = product(args.N, args.C);
  const double residual = args.residual_or_null == nullptr ? 0.0 : rows;
  return elements_moved(3.0 * rows + residual + product(args.N, 2) + static_cast<double>(args.C));
}

OpCost cost_of(const LayerNormBackwardWeight& args) {
  const double parameters =
      2.0 * (static_cast<double>(args.C) + times_if(args.dbias_or_null, args.C));
  return elements_moved(2.0 * product(args.N, args.C) + product(args.N, 2) + parameters);
}

OpCost cost_of(const Matmul& args) {
  const double c = product(args.M, args.N);
  const double residual = args.residual_or_null == nullptr ? 0.0 : c;
  OpCost cost = elements_moved(product(args.M, args.K) + product(args.K, args.N) +
                               (args.accumulate ? 2.0 * c : c) + residual +
                               times_if(args.bias_or_null, args.N));
  cost.flops = 2.0 * c * static_cast<double>(args.K);
  return cost;
}

OpCost cost_of(const GeluForward& args) {
  return elements_moved(product(args.count, 2));
}

OpCost cost_of(const GeluBackwardInput& args) {
  return elements_moved(product(args.count, 3));
}

OpCost cost_of(const AttentionForward& args) {
  OpCost cost = elements_moved(4.0 * head_elements(args.dims) + row_elements(args.dims));
  cost.flops = 2.0 * causal_product_flops(args.dims);
  return cost;
}

OpCost cost_of(const AttentionBackwardInput& args) {
  OpCost cost = elements_moved(8.0 * head_elements(args.dims) + row_elements(args.dims));
  cost.flops = 5.0 * causal_product_flops(args.dims);
  return cost;
}

OpCost cost_of(const AttentionDecode& args) {
  const double heads = product(args.B, args.NH) * static_cast<double>(args.HS);
  const double cached = heads * static_cast<double>(args.position + 1);
  OpCost cost = elements_moved(2.0 * cached + 2.0 * heads);
  cost.flops = 4.0 * cached;
  return cost;
}

OpCost cost_of(const CrossEntropy& args) {
  const double logits = product(args.N, args.V);
  return elements_moved((args.scale == 0.0F ? logits : 2.0 * logits) + product(args.N, 2));
}

OpCost cost_of(const AdamW& args) {
  return elements_moved(product(args.count, 7));
}

OpCost cost_of(const SumOfSquares& args) {
  return elements_moved(static_cast<double>(args.count));
}

OpCost cost_of(const Accumulate& args) {
  return elements_moved(product(args.count, 3));
}

OpCost cost_of(const ColumnSum& args) {
  return elements_moved(product(args.N, args.C) + product(args.C, 2));
}

}  // namespace halfpipe::ops
