// SPDX-License-Identifier: Apache-2.0
// The formulas of learning_rate.h.
#include "engine/optimizer/learning_rate.h"

#include "kernels/core/error.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace halfpipe::optimizer {

namespace {

// How far `step` is on the way from `first` (0) to `last` (1). An empty way is at its end: the last
// step of a run that decays is always at the minimum.
double progress(std::int64_t step, std::int64_t first, std::int64_t last) {
  if (step >= last) return 1.0;
  return std::max(0.0, static_cast<double>(step - first) / static_cast<double>(last - first));
}

// From `from` at x = 0 to exactly `to` at x = 1; std::lerp promises both ends and monotonicity.
double cosine(double from, double to, double x) {
  return std::lerp(to, from, 0.5 * (1.0 + std::cos(std::numbers::pi * x)));
}

std::int64_t num_decay_steps(const OptimizerConfig& config, std::int64_t total_steps) {
  const auto wanted = static_cast<std::int64_t>(
      std::llround(config.decay_fraction * static_cast<double>(total_steps)));
  return std::clamp(wanted, std::int64_t{0},
                    std::max(std::int64_t{0}, total_steps - config.warmup_steps));
}

}  // namespace

double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t total_steps) {
  HALFPIPE_CHECK(step >= 0 && total_steps > 0, "a step counts from 0, a run has at least one");
  const double peak = config.learning_rate;
  const double low = config.min_learning_rate;
  if (step < config.warmup_steps) {
    return peak * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  const std::int64_t last = total_steps - 1;
  switch (config.schedule) {
    case LearningRateSchedule::kConstant:
      return peak;
    case LearningRateSchedule::kCosine:
      return cosine(peak, low, progress(step, config.warmup_steps, last));
    case LearningRateSchedule::kLinear:
      return std::lerp(peak, low, progress(step, config.warmup_steps, last));
    case LearningRateSchedule::kWarmupStableDecay: {
      const std::int64_t decay_steps = num_decay_steps(config, total_steps);
      if (decay_steps == 0) return peak;
      return std::lerp(peak, low, progress(step, last - decay_steps, last));
    }
  }
  fail_check("config.schedule", "not a learning-rate schedule");
}

}  // namespace halfpipe::optimizer
