// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the CPU: one row at a time forward and backward, one group of columns at a time for
// the weight gradients.
#include "kernels/cpu/norm.h"

#include <cmath>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

namespace {

struct RowMoments {
  float mean;
  float rstd;
};

// Two passes: the variance is a sum of squares of differences, so it cannot cancel however far the
// mean is from zero. The row is in cache after the first pass.
template <typename T>
RowMoments row_moments(const T* x, std::int64_t C, float eps) {
  Lanes total{};
  for_each_lanes(0, C, [&](std::int64_t c, auto width) { total += load(x + c, width); });
  const float mean = sum(total) / static_cast<float>(C);
  Lanes squares{};
  for_each_lanes(0, C, [&](std::int64_t c, auto width) {
    const Lanes centred = load(x + c, width, /*fill=*/mean) - mean;
    squares += centred * centred;
  });
  const float variance = sum(squares) / static_cast<float>(C);
  return {mean, 1.0F / std::sqrt(variance + eps)};
}

template <typename T>
void forward_row(const ops::LayerNormForward& args, std::int64_t n) {
  const std::int64_t C = args.C;
  const T* x = static_cast<const T*>(args.x) + n * C;
  const T* weight = static_cast<const T*>(args.weight);
  const T* bias_or_null = static_cast<const T*>(args.bias_or_null);
  T* out = static_cast<T*>(args.out) + n * C;
  const auto [mean, rstd] = row_moments(x, C, args.eps);
  args.mean[n] = mean;
  args.rstd[n] = rstd;
  for_each_lanes(0, C, [&, mean = mean, rstd = rstd](std::int64_t c, auto width) {
    Lanes y = (load(x + c, width) - mean) * rstd * load(weight + c, width);
    if (bias_or_null != nullptr) y += load(bias_or_null + c, width);
    store(out + c, y, width);
  });
}

template <typename T>
void backward_input_row(const ops::LayerNormBackwardInput& args, std::int64_t n) {
  const std::int64_t C = args.C;
  const T* x = static_cast<const T*>(args.x) + n * C;
  const T* dout = static_cast<const T*>(args.dout) + n * C;
  const T* weight = static_cast<const T*>(args.weight);
  const T* residual_or_null = static_cast<const T*>(args.residual_or_null);
  if (residual_or_null != nullptr) residual_or_null += n * C;
  T* dx = static_cast<T*>(args.dx) + n * C;
  const float mean = args.mean[n];
  const float rstd = args.rstd[n];

  Lanes g_sum{};
  Lanes g_xhat_sum{};
  for_each_lanes(0, C, [&](std::int64_t c, auto width) {
    const Lanes g = load(dout + c, width) * load(weight + c, width);
    g_sum += g;
    g_xhat_sum += g * ((load(x + c, width) - mean) * rstd);
  });
  const float g_mean = sum(g_sum) / static_cast<float>(C);
  const float g_xhat_mean = sum(g_xhat_sum) / static_cast<float>(C);

  for_each_lanes(0, C, [&](std::int64_t c, auto width) {
    const Lanes g = load(dout + c, width) * load(weight + c, width);
    const Lanes xhat = (load(x + c, width) - mean) * rstd;
    Lanes result = rstd * (g - g_mean - xhat * g_xhat_mean);
    if (residual_or_null != nullptr) result += load(residual_or_null + c, width);
    store(dx + c, result, width);
  });
}

template <typename T>
void add_weight_gradients(const ops::LayerNormBackwardWeight& args,
                          std::int64_t begin,
                          std::int64_t end) {
  const T* x = static_cast<const T*>(args.x);
  const T* dout = static_cast<const T*>(args.dout);
  add_column_sums<2>({args.dweight, args.dbias_or_null}, args.N, begin, end,
                     [&](std::int64_t n, std::int64_t c, std::int64_t width, LanesOfSums<2>& sums) {
                       const Lanes d = load(dout + n * args.C + c, width);
                       const Lanes xhat =
                           (load(x + n * args.C + c, width) - args.mean[n]) * args.rstd[n];
                       sums[0] += d * xhat;
                       sums[1] += d;
                     });
}

}  // namespace

void layer_norm_forward(const ops::LayerNormForward& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_row_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) forward_row<T>(args, n);
    });
  });
}

void layer_norm_backward_input(const ops::LayerNormBackwardInput& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_row_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) backward_input_row<T>(args, n);
    });
  });
}

void layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_column_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
      add_weight_gradients<T>(args, begin, end);
    });
  });
}

}  // namespace halfpipe::cpu
