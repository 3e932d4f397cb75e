// SPDX-License-Identifier: Apache-2.0
// What one call of cublasLtMatmul computes, on the host.
#pragma once

#include <cstdint>

namespace halfpipe::cuda_emulation {

enum class Element : std::uint8_t { kFloat32, kBFloat16 };

/// Column-major, the columns `leading` elements apart.
struct Matrix {
  Element element;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t leading;

  friend bool operator==(const Matrix&, const Matrix&) = default;
};

/// d = alpha op(a) op(b) + beta c, plus the bias of each row. Sums in float32: those of `num_parts`
/// ranges of k, each over k upwards, then the sum of those. With a pre-activation that is its
/// place, and d is its GELU before it is rounded.
struct MatrixProduct {
  void* d;
  const void* a;
  const void* b;
  const void* c;                 // not read when beta is zero
  const void* bias_or_null;      // elements as d's
  void* pre_activation_or_null;  // elements as d's
  Matrix of_d;
  Matrix of_a;
  Matrix of_b;
  Matrix of_c;
  std::int64_t pre_activation_leading;
  bool transpose_a;
  bool transpose_b;
  float alpha;
  float beta;
  int num_parts;
};

void run(const MatrixProduct& product);

}  // namespace halfpipe::cuda_emulation
