// SPDX-License-Identifier: Apache-2.0
#include "kernels/ops/op_cost.h"

#include <cstdint>

namespace halfpipe::ops {
namespace {

double product(std::int64_t one, std::int64_t other) {
  return static_cast<double>(one) * static_cast<double>(other);
}

double times_if(const void* pointer_or_null, std::int64_t elements) {
  return pointer_or_null == nullptr ? 0.0 : static_cast<double>(elements);
}

/// Token ids, statistics and gradients of parameters have 4 bytes whatever the dtype of the rest.
OpCost moved(DType dtype, double elements, double four_byte_elements) {
  return {0.0, static_cast<double>(size_of(dtype)) * elements + 4.0 * four_byte_elements};
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
  const double positions = args.position_table == nullptr ? 0.0 : product(args.T, args.C);
  return moved(args.dtype, 2.0 * out + positions, product(args.B, args.T));
}

OpCost cost_of(const EmbeddingBackwardWeight& args) {
  const double dout = product(args.B, args.T) * static_cast<double>(args.C);
  return moved(args.dtype, dout,
               2.0 * dout + 2.0 * product(args.T, args.C) + product(args.B, args.T));
}

OpCost cost_of(const LayerNormForward& args) {
  const double parameters = static_cast<double>(args.C) + times_if(args.bias_or_null, args.C);
  return moved(args.dtype, 2.0 * product(args.N, args.C) + parameters, product(args.N, 2));
}

OpCost cost_of(const LayerNormBackwardInput& args) {
  const double rows = product(args.N, args.C);
  const double residual = args.residual_or_null == nullptr ? 0.0 : rows;
  return moved(args.dtype, 3.0 * rows + residual + static_cast<double>(args.C), product(args.N, 2));
}

OpCost cost_of(const LayerNormBackwardWeight& args) {
  const double parameters =
      2.0 * (static_cast<double>(args.C) + times_if(args.dbias_or_null, args.C));
  return moved(args.dtype, 2.0 * product(args.N, args.C), product(args.N, 2) + parameters);
}

OpCost cost_of(const Matmul& args) {
  const double c = product(args.M, args.N);
  const double residual = args.residual_or_null == nullptr ? 0.0 : c;
  OpCost cost = moved(
      args.dtype,
      product(args.M, args.K) + product(args.K, args.N) + (args.accumulate ? 0.0 : c) + residual +
          times_if(args.bias_or_null, args.N) + (args.pre_activation_or_null == nullptr ? 0.0 : c),
      args.accumulate ? 2.0 * c : 0.0);
  cost.flops = 2.0 * c * static_cast<double>(args.K);
  return cost;
}

OpCost cost_of(const GeluForward& args) {
  return moved(args.dtype, product(args.count, 2), 0.0);
}

OpCost cost_of(const GeluBackwardInput& args) {
  return moved(args.dtype, product(args.count, 3), 2.0 * times_if(args.dbias_or_null, args.C));
}

OpCost cost_of(const AttentionForward& args) {
  OpCost cost = moved(args.dtype, 4.0 * head_elements(args.dims), row_elements(args.dims));
  cost.flops = 2.0 * causal_product_flops(args.dims);
  return cost;
}

OpCost cost_of(const AttentionBackwardInput& args) {
  OpCost cost = moved(args.dtype, 8.0 * head_elements(args.dims), row_elements(args.dims));
  cost.flops = 5.0 * causal_product_flops(args.dims);
  return cost;
}

OpCost cost_of(const AttentionDecode& args) {
  const double heads = product(args.B, args.NH) * static_cast<double>(args.HS);
  const double cached = heads * static_cast<double>(args.position + 1);
  OpCost cost = moved(DType::kFloat32, 2.0 * cached + 2.0 * heads, 0.0);
  cost.flops = 4.0 * cached;
  return cost;
}

OpCost cost_of(const CrossEntropy& args) {
  const double logits = product(args.N, args.V);
  return moved(args.dtype, args.scale == 0.0F ? logits : 2.0 * logits, product(args.N, 2));
}

OpCost cost_of(const CrossEntropyStatistics& args) {
  return moved(args.dtype, product(args.N, args.V), product(args.N, 4));
}

OpCost cost_of(const CrossEntropyOfSlice& args) {
  // Losses need the statistics alone.
  const double logits = args.scale == 0.0F ? 0.0 : 2.0 * product(args.N, args.V);
  return moved(args.dtype, logits, product(args.N, 3 * args.num_slices + 2));
}

OpCost cost_of(const AdamW& args) {
  const auto of = [&](int num_arrays) {
    return static_cast<double>(num_arrays) * static_cast<double>(args.count);
  };
  // p, m, v and g are read; of a step that is only shown, p is written at most.
  const bool is_taken = args.writes == AdamWWrites::kAll;
  OpCost cost =
      moved(args.moment_dtype, of(is_taken ? 4 : 2), of(args.writes == AdamWWrites::kCopy ? 2 : 3));
  cost += moved(DType::kBFloat16, times_if(args.copy_or_null, args.count), 0.0);
  return cost;
}

OpCost cost_of(const SumOfSquares& args) {
  return moved(DType::kFloat32, static_cast<double>(args.count), 0.0);
}

OpCost cost_of(const Accumulate& args) {
  return moved(DType::kFloat32, product(args.count, 3), 0.0);
}

OpCost cost_of(const ColumnSum& args) {
  return moved(args.dtype, product(args.N, args.C), product(args.C, 2));
}

OpCost cost_of(const SumParts& args) {
  const double elements = product(args.N, args.C);
  const double residual = args.residual_or_null == nullptr ? 0.0 : elements;
  return moved(args.dtype,
               static_cast<double>(args.num_parts + 1) * elements + residual +
                   times_if(args.bias_or_null, args.C),
               0.0);
}

OpCost cost_of(const RoundToBFloat16& args) {
  return moved(DType::kBFloat16, static_cast<double>(args.count), static_cast<double>(args.count));
}

}  // namespace halfpipe::ops
