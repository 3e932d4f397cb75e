// SPDX-License-Identifier: Apache-2.0
// One query of one head after the other.
#include "tests/kernels/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace halfpipe::reference {
namespace {

/// Offset of position t, head h, part 0 (q), 1 (k) or 2 (v) in qkv.
std::size_t at(const ops::AttentionDims& d,
               std::int64_t b,
               std::int64_t t,
               std::int64_t part,
               std::int64_t h) {
  return static_cast<std::size_t>((((b * d.T + t) * 3 + part) * d.NH + h) * d.HS);
}

std::size_t out_at(const ops::AttentionDims& d, std::int64_t b, std::int64_t t, std::int64_t h) {
  return static_cast<std::size_t>(((b * d.T + t) * d.NH + h) * d.HS);
}

double dot(const double* x, const double* y, std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

struct Row {
  std::vector<double> probabilities;  // of keys 0 .. i
  double lse;
};

Row softmax_row(const std::vector<double>& qkv,
                const ops::AttentionDims& d,
                std::int64_t b,
                std::int64_t i,
                std::int64_t h) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(d.HS));
  Row row{{}, 0.0};
  for (std::int64_t j = 0; j <= i; ++j) {
    row.probabilities.push_back(scale *
                                dot(&qkv[at(d, b, i, 0, h)], &qkv[at(d, b, j, 1, h)], d.HS));
  }
  const double max = *std::max_element(row.probabilities.begin(), row.probabilities.end());
  double sum = 0.0;
  for (const double score : row.probabilities) sum += std::exp(score - max);
  row.lse = max + std::log(sum);
  for (double& score : row.probabilities) score = std::exp(score - row.lse);
  return row;
}

void backward_row(const Row& row,
                  const double* dout,
                  const std::vector<double>& qkv,
                  const ops::AttentionDims& d,
                  std::int64_t b,
                  std::int64_t i,
                  std::int64_t h,
                  std::vector<double>& dqkv) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(d.HS));
  std::vector<double> dp;
  double delta = 0.0;
  for (std::int64_t j = 0; j <= i; ++j) {
    dp.push_back(dot(dout, &qkv[at(d, b, j, 2, h)], d.HS));
    delta += row.probabilities[static_cast<std::size_t>(j)] * dp.back();
  }
  for (std::int64_t j = 0; j <= i; ++j) {
    const double p = row.probabilities[static_cast<std::size_t>(j)];
    const double ds = p * (dp[static_cast<std::size_t>(j)] - delta);
    for (std::int64_t c = 0; c < d.HS; ++c) {
      const auto offset = static_cast<std::size_t>(c);
      dqkv[at(d, b, i, 0, h) + offset] += scale * ds * qkv[at(d, b, j, 1, h) + offset];
      dqkv[at(d, b, j, 1, h) + offset] += scale * ds * qkv[at(d, b, i, 0, h) + offset];
      dqkv[at(d, b, j, 2, h) + offset] += p * dout[c];
    }
  }
}

}  // namespace

AttentionResult attention(const std::vector<double>& qkv, const ops::AttentionDims& d) {
  AttentionResult result{std::vector<double>(qkv.size() / 3, 0.0), {}};
  for (std::int64_t b = 0; b < d.B; ++b) {
    for (std::int64_t h = 0; h < d.NH; ++h) {
      for (std::int64_t i = 0; i < d.T; ++i) {
        const Row row = softmax_row(qkv, d, b, i, h);
        result.lse.push_back(row.lse);
        double* const out = &result.out[out_at(d, b, i, h)];
        for (std::int64_t j = 0; j <= i; ++j) {
          const double* const v = &qkv[at(d, b, j, 2, h)];
          const double p = row.probabilities[static_cast<std::size_t>(j)];
          for (std::int64_t c = 0; c < d.HS; ++c) out[c] += p * v[c];
        }
      }
    }
  }
  return result;
}

std::vector<double> attention_backward(const std::vector<double>& dout,
                                       const std::vector<double>& qkv,
                                       const ops::AttentionDims& d) {
  std::vector<double> dqkv(qkv.size(), 0.0);
  for (std::int64_t b = 0; b < d.B; ++b) {
    for (std::int64_t h = 0; h < d.NH; ++h) {
      for (std::int64_t i = 0; i < d.T; ++i) {
        backward_row(softmax_row(qkv, d, b, i, h), &dout[out_at(d, b, i, h)], qkv, d, b, i, h,
                     dqkv);
      }
    }
  }
  return dqkv;
}

}  // namespace halfpipe::reference
