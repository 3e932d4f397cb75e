// SPDX-License-Identifier: Apache-2.0
// The naive float64 reference of kernels/ops/matmul.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace halfpipe::reference {

struct MatmulShape {
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  bool transpose_a = false;
  bool transpose_b = false;
};

/// op(a) op(b), [M, N].
inline std::vector<double> matmul(const MatmulShape& s,
                                  const std::vector<float>& a,
                                  const std::vector<float>& b) {
  std::vector<double> c(static_cast<std::size_t>(s.M * s.N), 0.0);
  for (std::int64_t m = 0; m < s.M; ++m) {
    double* const row = c.data() + m * s.N;
    for (std::int64_t k = 0; k < s.K; ++k) {
      const double factor = a[static_cast<std::size_t>(s.transpose_a ? k * s.M + m : m * s.K + k)];
      for (std::int64_t n = 0; n < s.N; ++n) {
        row[n] += factor * b[static_cast<std::size_t>(s.transpose_b ? n * s.K + k : k * s.N + n)];
      }
    }
  }
  return c;
}

}  // namespace halfpipe::reference
