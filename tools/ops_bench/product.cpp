// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/product.h"

#include <fmt/format.h>

namespace halfpipe::ops_bench {

std::string shape_text(const Product& product) {
  return fmt::format("{} x {} x {}", product.M, product.N, product.K);
}

PreparedOp prepare_product(Workbench& bench, const Product& product) {
  const auto [M, N, K, transpose_a, transpose_b, accumulate, bias, residual, dtype, gelu] = product;
  ops::Matmul args{.c = accumulate ? bench.zeros(M * N) : bench.zeros(M * N, dtype),
                   .a = bench.values(M * K, dtype),
                   .b = bench.values(K * N, dtype),
                   .bias_or_null = bias ? bench.values(N, dtype) : nullptr,
                   .residual_or_null = residual ? bench.values(M * N, dtype) : nullptr,
                   .M = M,
                   .N = N,
                   .K = K,
                   .transpose_a = transpose_a,
                   .transpose_b = transpose_b,
                   .accumulate = accumulate,
                   .scratch = nullptr,
                   .dtype = dtype,
                   .pre_activation_or_null = gelu ? bench.zeros(M * N, dtype) : nullptr};
  args.scratch = bench.scratch(bench.ops().matmul_scratch_bytes(args));
  return bench.prepare(&ops::Ops::matmul, args);
}

}  // namespace halfpipe::ops_bench
