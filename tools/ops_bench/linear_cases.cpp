// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/linear_cases.h"

#include <utility>

#include "tools/ops_bench/product.h"

namespace halfpipe::ops_bench {
namespace {

OpCase product_case(std::string operation, const Product& product) {
  return {std::move(operation), "matmul", shape_text(product), Ceiling::kProduct,
          [product](Workbench& bench) { return prepare_product(bench, product); }};
}

}  // namespace

OpCase linear_forward(const LinearShape& linear) {
  return product_case(linear.name + (linear.gelu ? " gelu forward" : " forward"),
                      {.M = linear.N,
                       .N = linear.out,
                       .K = linear.in,
                       .bias = linear.bias,
                       .residual = linear.residual,
                       .dtype = linear.dtype,
                       .gelu = linear.gelu});
}

OpCase linear_backward_input(const LinearShape& linear) {
  return product_case(
      linear.name + " backward_input",
      {.M = linear.N, .N = linear.in, .K = linear.out, .transpose_b = true, .dtype = linear.dtype});
}

OpCase linear_backward_weight(const LinearShape& linear) {
  return product_case(linear.name + " backward_weight", {.M = linear.in,
                                                         .N = linear.out,
                                                         .K = linear.N,
                                                         .transpose_a = true,
                                                         .accumulate = true,
                                                         .dtype = linear.dtype});
}

OpCase linear_column_sum(const LinearShape& linear) {
  const std::int64_t N = linear.N;
  const std::int64_t C = linear.out;
  const DType dtype = linear.dtype;
  return {linear.name + " column_sum", "column_sum", shape_text({N, C}), Ceiling::kCopy,
          [=](Workbench& bench) {
            ops::ColumnSum args{.dst = bench.zeros(C),
                                .x = bench.values(N * C, dtype),
                                .N = N,
                                .C = C,
                                .scratch = nullptr,
                                .dtype = dtype};
            args.scratch = bench.scratch(bench.ops().column_sum_scratch_bytes(args));
            return bench.prepare(&ops::Ops::column_sum, args);
          }};
}

OpCase head_forward(const ModelShape& model) {
  return product_case(
      "head forward",
      {.M = model.N(), .N = model.V, .K = model.C, .transpose_b = true, .dtype = model.dtype});
}

OpCase head_backward_input(const ModelShape& model) {
  return product_case("head backward_input",
                      {.M = model.N(), .N = model.C, .K = model.V, .dtype = model.dtype});
}

OpCase head_backward_weight(const ModelShape& model) {
  return product_case("head backward_weight", {.M = model.V,
                                               .N = model.C,
                                               .K = model.N(),
                                               .transpose_a = true,
                                               .accumulate = true,
                                               .dtype = model.dtype});
}

}  // namespace halfpipe::ops_bench
