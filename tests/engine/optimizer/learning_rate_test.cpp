// SPDX-License-Identifier: Apache-2.0
// Learning-rate schedules: end points, values by hand, monotonicity.
#include "engine/optimizer/learning_rate.h"

#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <vector>

namespace halfpipe::optimizer {
namespace {

constexpr double kPeak = 1.0e-3;
constexpr double kLow = 1.0e-4;

OptimizerConfig config_of(LearningRateSchedule schedule, std::int64_t warmup_steps) {
  OptimizerConfig config;
  config.learning_rate = kPeak;
  config.min_learning_rate = kLow;
  config.schedule = schedule;
  config.warmup_steps = warmup_steps;
  return config;
}

std::vector<double> rates(const OptimizerConfig& config, std::int64_t total_steps) {
  std::vector<double> result;
  for (std::int64_t step = 0; step < total_steps; ++step)
    result.push_back(learning_rate(config, step, total_steps));
  return result;
}

TEST(LearningRate, ConstantStaysAtThePeak) {
  for (const double rate : rates(config_of(LearningRateSchedule::kConstant, 0), 10))
    EXPECT_EQ(rate, kPeak);
}

TEST(LearningRate, WarmupRisesLinearlyToThePeak) {
  const auto rate = rates(config_of(LearningRateSchedule::kConstant, 4), 6);
  const std::vector<double> expected{kPeak / 4, kPeak / 2, kPeak * 3 / 4, kPeak, kPeak, kPeak};
  for (std::size_t step = 0; step < expected.size(); ++step)
    EXPECT_DOUBLE_EQ(rate[step], expected[step]) << step;
}

TEST(LearningRate, LinearIsAStraightLine) {
  const auto rate = rates(config_of(LearningRateSchedule::kLinear, 2), 13);  // step 2 .. 12
  EXPECT_EQ(rate[2], kPeak);
  EXPECT_DOUBLE_EQ(rate[7], (kPeak + kLow) / 2);
  EXPECT_EQ(rate[12], kLow);
}

TEST(LearningRate, CosineIsHalfAPeriod) {
  const auto rate = rates(config_of(LearningRateSchedule::kCosine, 0), 13);
  EXPECT_EQ(rate[0], kPeak);
  EXPECT_DOUBLE_EQ(rate[6], (kPeak + kLow) / 2);
  EXPECT_DOUBLE_EQ(rate[4], kLow + (kPeak - kLow) * 0.75);  // cos(pi / 3) = 1/2
  EXPECT_EQ(rate[12], kLow);
}

TEST(LearningRate, WarmupStableDecayHoldsThePeakThenFalls) {
  auto config = config_of(LearningRateSchedule::kWarmupStableDecay, 2);
  config.decay_fraction = 0.2;
  const auto rate = rates(config, 20);  // decays over steps 16 .. 19
  for (std::size_t step = 1; step < 16; ++step) EXPECT_EQ(rate[step], kPeak) << step;
  EXPECT_DOUBLE_EQ(rate[16], kPeak - (kPeak - kLow) / 4);
  EXPECT_DOUBLE_EQ(rate[17], kPeak - (kPeak - kLow) / 2);
  EXPECT_EQ(rate[19], kLow);
}

TEST(LearningRate, WarmupStableDecayWithoutDecayIsConstant) {
  auto config = config_of(LearningRateSchedule::kWarmupStableDecay, 0);
  config.decay_fraction = 0.0;
  for (const double rate : rates(config, 10)) EXPECT_EQ(rate, kPeak);
}

TEST(LearningRate, WarmupStableDecayBeginsAfterTheWarmup) {
  auto config = config_of(LearningRateSchedule::kWarmupStableDecay, 5);
  config.decay_fraction = 1.0;
  const auto rate = rates(config, 10);
  EXPECT_EQ(rate[4], kPeak);
  EXPECT_DOUBLE_EQ(rate[5], kPeak - (kPeak - kLow) / 5);
  EXPECT_EQ(rate[9], kLow);
}

struct Case {
  LearningRateSchedule schedule;
  std::int64_t warmup_steps;
  std::int64_t total_steps;
};

class Decaying : public testing::TestWithParam<Case> {};

TEST_P(Decaying, RisesThroughTheWarmupThenNeverRisesAndEndsAtTheMinimum) {
  const auto [schedule, warmup, total] = GetParam();
  const auto rate = rates(config_of(schedule, warmup), total);
  for (std::int64_t step = 1; step < total; ++step) {
    const auto i = static_cast<std::size_t>(step);
    if (step < warmup) {
      EXPECT_GT(rate[i], rate[i - 1]) << step;
    } else {
      EXPECT_LE(rate[i], rate[i - 1]) << step;
    }
    EXPECT_LE(rate[i], kPeak) << step;
  }
  if (warmup > 0 && warmup <= total) {
    EXPECT_EQ(rate[static_cast<std::size_t>(warmup - 1)], kPeak);
  }
  if (warmup < total) {
    EXPECT_EQ(rate.back(), kLow);
    EXPECT_EQ(learning_rate(config_of(schedule, warmup), total + 100, total), kLow);
  }
}

std::vector<Case> cases() {
  std::vector<Case> cases;
  for (const auto schedule : {LearningRateSchedule::kCosine, LearningRateSchedule::kLinear,
                              LearningRateSchedule::kWarmupStableDecay}) {
    for (const std::int64_t total : {5, 6, 17, 100, 2000}) {
      for (const std::int64_t warmup : {0, 1, 2, 4, 100})
        cases.push_back({schedule, warmup, total});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(SchedulesAndLengths, Decaying, testing::ValuesIn(cases()));

TEST(LearningRate, ARunOfOneStepIsDefined) {
  EXPECT_EQ(learning_rate(config_of(LearningRateSchedule::kConstant, 0), 0, 1), kPeak);
  EXPECT_EQ(learning_rate(config_of(LearningRateSchedule::kCosine, 0), 0, 1), kLow);
  EXPECT_EQ(learning_rate(config_of(LearningRateSchedule::kCosine, 1), 0, 1), kPeak);
}

TEST(LearningRate, RefusesANegativeStep) {
  EXPECT_THROW((void)learning_rate(OptimizerConfig{}, -1, 10), InternalError);
}

}  // namespace
}  // namespace halfpipe::optimizer
