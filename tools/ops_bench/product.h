// SPDX-License-Identifier: Apache-2.0
// A matrix product to measure: ops::Matmul without its pointers.
#pragma once

#include <cstdint>
#include <string>

#include "tools/ops_bench/workbench.h"

namespace halfpipe::ops_bench {

struct Product {
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;
  bool bias = false;
  bool residual = false;
  DType dtype = DType::kFloat32;
  bool gelu = false;
};

/// "2048 x 1152 x 384": M x N x K.
[[nodiscard]] std::string shape_text(const Product& product);

[[nodiscard]] PreparedOp prepare_product(Workbench& bench, const Product& product);

}  // namespace halfpipe::ops_bench
