// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the CPU: one row at a time forward and backward, one group of columns at a time for
// the weight gradients.
#include "kernels/cpu/norm.h"

#include <cmath>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

namespace {

struct RowMoments {
  float mean;
  float rstd;
};

// Two passes: the variance is a sum of squares of differences, so it cannot cancel however far the
// mean is from zero. The row is in cache after the first pass.
RowMoments row_moments(const float* x, std::int64_t C, float eps) {
  Lanes total{};
  for (std::int64_t c = 0; c < C; c += kLanes) total += load(x + c, C - c);
  const float mean = sum(total) / static_cast<float>(C);
  Lanes squares{};
  for (std::int64_t c = 0; c < C; c += kLanes) {
    const Lanes centred = load(x + c, C - c, /*fill=*/mean) - mean;
    squares += centred * centred;
  }
  const float variance = sum(squares) / static_cast<float>(C);
  return {mean, 1.0F / std::sqrt(variance + eps)};
}

void forward_row(const ops::LayerNormForward& args, std::int64_t n) {
  const float* x = args.x + n * args.C;
  float* out = args.out + n * args.C;
  const auto [mean, rstd] = row_moments(x, args.C, args.eps);
  args.mean[n] = mean;
  args.rstd[n] = rstd;
  for (std::int64_t c = 0; c < args.C; c += kLanes) {
    const std::int64_t width = args.C - c;
    Lanes y = (load(x + c, width) - mean) * rstd * load(args.weight + c, width);
    if (args.bias_or_null != nullptr) y += load(args.bias_or_null + c, width);
    store(out + c, y, width);
  }
}

void backward_input_row(const ops::LayerNormBackwardInput& args, std::int64_t n) {
  const std::int64_t C = args.C;
  const float* x = args.x + n * C;
  const float* dout = args.dout + n * C;
  float* dx = args.dx + n * C;
  const float mean = args.mean[n];
  const float rstd = args.rstd[n];

  Lanes g_sum{};
  Lanes g_xhat_sum{};
  for (std::int64_t c = 0; c < C; c += kLanes) {
    const std::int64_t width = C - c;
    const Lanes g = load(dout + c, width) * load(args.weight + c, width);
    g_sum += g;
    g_xhat_sum += g * ((load(x + c, width) - mean) * rstd);
  }
  const float g_mean = sum(g_sum) / static_cast<float>(C);
  const float g_xhat_mean = sum(g_xhat_sum) / static_cast<float>(C);

  for (std::int64_t c = 0; c < C; c += kLanes) {
    const std::int64_t width = C - c;
    const Lanes g = load(dout + c, width) * load(args.weight + c, width);
    const Lanes xhat = (load(x + c, width) - mean) * rstd;
    Lanes result = rstd * (g - g_mean - xhat * g_xhat_mean);
    if (args.residual_or_null != nullptr) result += load(args.residual_or_null + n * C + c, width);
    store(dx + c, result, width);
  }
}

}  // namespace

void layer_norm_forward(const ops::LayerNormForward& args, ThreadPool& pool) {
  for_each_row_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) forward_row(args, n);
  });
}

void layer_norm_backward_input(const ops::LayerNormBackwardInput& args, ThreadPool& pool) {
  for_each_row_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) backward_input_row(args, n);
  });
}

void layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args, ThreadPool& pool) {
  for_each_column_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
    add_column_sums<2>(
        {args.dweight, args.dbias_or_null}, args.N, begin, end,
        [&](std::int64_t n, std::int64_t c, std::int64_t width, LanesOfSums<2>& sums) {
          const Lanes dout = load(args.dout + n * args.C + c, width);
          const Lanes xhat = (load(args.x + n * args.C + c, width) - args.mean[n]) * args.rstd[n];
          sums[0] += dout * xhat;
          sums[1] += dout;
        });
  });
}

}  // namespace halfpipe::cpu
