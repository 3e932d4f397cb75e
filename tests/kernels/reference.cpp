// SPDX-License-Identifier: Apache-2.0
// Naive float64 references of the row-wise and element-wise ops.
#include "tests/kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace halfpipe::reference {

namespace {

std::size_t index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

}  // namespace

LayerNormResult layer_norm(const Values& x,
                           const Values& weight,
                           const Values& bias,
                           std::int64_t N,
                           std::int64_t C,
                           double eps) {
  LayerNormResult result{Values(x.size()), Values(index(N)), Values(index(N))};
  for (std::int64_t n = 0; n < N; ++n) {
    double mean = 0.0;
    for (std::int64_t c = 0; c < C; ++c) mean += x[index(n * C + c)];
    mean /= static_cast<double>(C);
    double variance = 0.0;
    for (std::int64_t c = 0; c < C; ++c) variance += std::pow(x[index(n * C + c)] - mean, 2);
    variance /= static_cast<double>(C);
    const double rstd = 1.0 / std::sqrt(variance + eps);
    for (std::int64_t c = 0; c < C; ++c) {
      const double shift = bias.empty() ? 0.0 : bias[index(c)];
      result.out[index(n * C + c)] = (x[index(n * C + c)] - mean) * rstd * weight[index(c)] + shift;
    }
    result.mean[index(n)] = mean;
    result.rstd[index(n)] = rstd;
  }
  return result;
}

LayerNormGradients layer_norm_backward(const Values& dout,
                                       const Values& x,
                                       const Values& weight,
                                       std::int64_t N,
                                       std::int64_t C,
                                       double eps) {
  const LayerNormResult forward = layer_norm(x, weight, {}, N, C, eps);
  LayerNormGradients gradients{Values(x.size()), Values(index(C)), Values(index(C))};
  for (std::int64_t n = 0; n < N; ++n) {
    const double mean = forward.mean[index(n)];
    const double rstd = forward.rstd[index(n)];
    double g_mean = 0.0;
    double g_xhat_mean = 0.0;
    for (std::int64_t c = 0; c < C; ++c) {
      const double xhat = (x[index(n * C + c)] - mean) * rstd;
      const double d = dout[index(n * C + c)];
      g_mean += d * weight[index(c)] / static_cast<double>(C);
      g_xhat_mean += d * weight[index(c)] * xhat / static_cast<double>(C);
      gradients.dweight[index(c)] += d * xhat;
      gradients.dbias[index(c)] += d;
    }
    for (std::int64_t c = 0; c < C; ++c) {
      const double xhat = (x[index(n * C + c)] - mean) * rstd;
      const double g = dout[index(n * C + c)] * weight[index(c)];
      gradients.dx[index(n * C + c)] = rstd * (g - g_mean - xhat * g_xhat_mean);
    }
  }
  return gradients;
}

namespace {

double gelu_argument(double x) {
  return std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
}

}  // namespace

Values gelu(const Values& x) {
  Values out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    // 0.5 (1 + tanh(u)) written as 1 / (1 + exp(-2u)): equal, and exact where tanh(u) is near -1.
    out[i] = x[i] / (1.0 + std::exp(-2.0 * gelu_argument(x[i])));
  }
  return out;
}

Values gelu_backward(const Values& dout, const Values& x) {
  Values dx(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double tanh = std::tanh(gelu_argument(x[i]));
    const double du = std::sqrt(2.0 / std::numbers::pi) * (1.0 + 3.0 * 0.044715 * x[i] * x[i]);
    dx[i] = dout[i] * (0.5 * (1.0 + tanh) + 0.5 * x[i] * (1.0 - tanh * tanh) * du);
  }
  return dx;
}

Values embedding(const Indices& tokens,
                 const Values& token_table,
                 const Values& position_table,
                 const EmbeddingDims& dims) {
  const auto [B, T, C, first_position, first_id] = dims;
  const auto num_ids = static_cast<std::int64_t>(token_table.size()) / C;
  Values out(index(B * T * C));
  for (std::int64_t row = 0; row < B * T; ++row) {
    const std::int64_t id = tokens[index(row)] - first_id;
    for (std::int64_t c = 0; c < C; ++c) {
      double& value = out[index(row * C + c)];
      if (id >= 0 && id < num_ids) value += token_table[index(id * C + c)];
      if (!position_table.empty()) {
        value += position_table[index((first_position + row % T) * C + c)];
      }
    }
  }
  return out;
}

EmbeddingGradients embedding_backward(const Values& dout,
                                      const Indices& tokens,
                                      std::int64_t num_ids,
                                      std::int64_t T_max,
                                      const EmbeddingDims& dims) {
  const std::int64_t C = dims.C;
  EmbeddingGradients gradients{Values(index(num_ids * C)), Values(index(T_max * C))};
  for (std::int64_t row = 0; row < dims.B * dims.T; ++row) {
    const std::int64_t id = tokens[index(row)] - dims.first_id;
    const bool has_id = id >= 0 && id < num_ids;
    for (std::int64_t c = 0; c < C; ++c) {
      if (has_id) gradients.dtoken_table[index(id * C + c)] += dout[index(row * C + c)];
      gradients.dposition_table[index(row % dims.T * C + c)] += dout[index(row * C + c)];
    }
  }
  return gradients;
}

namespace {

// log sum_v exp(logits[v])
double log_sum_exp(const double* logits, std::int64_t V) {
  const double largest = *std::max_element(logits, logits + V);
  double total = 0.0;
  for (std::int64_t v = 0; v < V; ++v) total += std::exp(logits[v] - largest);
  return largest + std::log(total);
}

}  // namespace

Values cross_entropy(const Values& logits, const Indices& targets, std::int64_t V) {
  Values losses(targets.size());
  for (std::size_t n = 0; n < targets.size(); ++n) {
    const double* row = logits.data() + n * index(V);
    losses[n] = log_sum_exp(row, V) - row[targets[n]];
  }
  return losses;
}

Values cross_entropy_backward(const Values& logits,
                              const Indices& targets,
                              std::int64_t V,
                              double scale) {
  Values gradient(logits.size());
  for (std::size_t n = 0; n < targets.size(); ++n) {
    const double* row = logits.data() + n * index(V);
    double* drow = gradient.data() + n * index(V);
    const double log_sum = log_sum_exp(row, V);
    for (std::int64_t v = 0; v < V; ++v) drow[v] = scale * std::exp(row[v] - log_sum);
    drow[targets[n]] = scale * std::expm1(row[targets[n]] - log_sum);
  }
  return gradient;
}

Values cross_entropy_statistics(const Values& logits,
                                const Indices& targets,
                                std::int64_t V,
                                std::int64_t first_id) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  Values statistics;
  for (std::size_t n = 0; n < targets.size(); ++n) {
    const double* row = logits.data() + n * index(V);
    const std::int64_t target = targets[n] - first_id;
    double largest = kNone;
    for (std::int64_t v = 0; v < V; ++v) largest = std::max(largest, row[v]);
    double sum = 0.0;
    double target_logit = kNone;
    for (std::int64_t v = 0; v < V; ++v) {
      if (v == target) {
        target_logit = row[v];
      } else {
        sum += std::exp(row[v] - largest);
      }
    }
    statistics.insert(statistics.end(), {largest, sum, target_logit});
  }
  return statistics;
}

void adamw(AdamWState& state, const Values& grad, const AdamWHyperparameters& h, int step) {
  for (std::size_t i = 0; i < grad.size(); ++i) {
    const double g = grad[i] * h.grad_scale;
    state.m[i] = h.beta1 * state.m[i] + (1.0 - h.beta1) * g;
    state.v[i] = h.beta2 * state.v[i] + (1.0 - h.beta2) * g * g;
    const double m_hat = state.m[i] / (1.0 - std::pow(h.beta1, step));
    const double v_hat = state.v[i] / (1.0 - std::pow(h.beta2, step));
    state.param[i] -= h.learning_rate * h.weight_decay * state.param[i] +
                      h.learning_rate * m_hat / (std::sqrt(v_hat) + h.epsilon);
  }
}

double sum_of_squares(const Values& x) {
  double total = 0.0;
  for (const double value : x) total += value * value;
  return total;
}

Values column_sum(const Values& x, std::int64_t C) {
  Values sums(index(C));
  for (std::size_t i = 0; i < x.size(); ++i) sums[i % index(C)] += x[i];
  return sums;
}

Values sum_parts(const std::vector<Values>& parts, const Values& bias, const Values& residual) {
  Values sum(parts.front().size());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    for (const Values& part : parts) sum[i] += part[i];
    if (!bias.empty()) sum[i] += bias[i % bias.size()];
    if (!residual.empty()) sum[i] += residual[i];
  }
  return sum;
}

}  // namespace halfpipe::reference
