// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/matrix_product.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/core/bfloat16.h"

namespace halfpipe::cuda_emulation {
namespace {

float element_at(const void* matrix, Element element, std::int64_t i) {
  return element == Element::kFloat32 ? static_cast<const float*>(matrix)[i]
                                      : to_float(static_cast<const BFloat16*>(matrix)[i]);
}

void write(void* matrix, Element element, std::int64_t i, float value) {
  if (element == Element::kFloat32) {
    static_cast<float*>(matrix)[i] = value;
  } else {
    static_cast<BFloat16*>(matrix)[i] = to_bfloat16(value);
  }
}

float gelu(float x) {
  constexpr float kSqrtTwoOverPi = 0.797884561F;
  return 0.5F * x * (1.0F + std::tanh(kSqrtTwoOverPi * (x + 0.044715F * x * x * x)));
}

/// As float32, column-major and packed; the transpose when asked for.
std::vector<float> unpack(const void* matrix, const Matrix& of, bool transpose) {
  std::vector<float> values(static_cast<std::size_t>(of.rows * of.columns));
  for (std::int64_t column = 0; column < of.columns; ++column) {
    for (std::int64_t row = 0; row < of.rows; ++row) {
      const std::int64_t to = transpose ? row * of.columns + column : column * of.rows + row;
      values[static_cast<std::size_t>(to)] =
          element_at(matrix, of.element, column * of.leading + row);
    }
  }
  return values;
}

}  // namespace

void run(const MatrixProduct& p) {
  const auto M = static_cast<std::size_t>(p.of_d.rows);
  const auto N = static_cast<std::size_t>(p.of_d.columns);
  const auto K = static_cast<std::size_t>(p.transpose_a ? p.of_a.rows : p.of_a.columns);
  const std::vector<float> a = unpack(p.a, p.of_a, p.transpose_a);  // [K, M], m fastest
  const std::vector<float> b = unpack(p.b, p.of_b, p.transpose_b);  // [N, K], k fastest
  std::vector<float> sums(M);
  std::vector<float> part(M);
  const auto num_parts = static_cast<std::size_t>(p.num_parts);
  for (std::size_t n = 0; n < N; ++n) {
    sums.assign(M, 0.0F);
    for (std::size_t i = 0; i < num_parts; ++i) {
      part.assign(M, 0.0F);
      for (std::size_t k = K * i / num_parts; k < K * (i + 1) / num_parts; ++k) {
        const float factor = b[n * K + k];
        const float* column = &a[k * M];
        for (std::size_t m = 0; m < M; ++m) part[m] += column[m] * factor;
      }
      for (std::size_t m = 0; m < M; ++m) sums[m] += part[m];
    }
    for (std::size_t m = 0; m < M; ++m) {
      const auto in_c =
          static_cast<std::int64_t>(n) * p.of_c.leading + static_cast<std::int64_t>(m);
      const auto in_d =
          static_cast<std::int64_t>(n) * p.of_d.leading + static_cast<std::int64_t>(m);
      float value = p.alpha * sums[m];
      if (p.beta != 0.0F) value += p.beta * element_at(p.c, p.of_c.element, in_c);
      if (p.bias_or_null != nullptr) {
        value += element_at(p.bias_or_null, p.of_d.element, static_cast<std::int64_t>(m));
      }
      if (p.pre_activation_or_null != nullptr) {
        write(
            p.pre_activation_or_null, p.of_d.element,
            static_cast<std::int64_t>(n) * p.pre_activation_leading + static_cast<std::int64_t>(m),
            value);
        value = gelu(value);
      }
      write(p.d, p.of_d.element, in_d, value);
    }
  }
}

}  // namespace halfpipe::cuda_emulation
