// SPDX-License-Identifier: Apache-2.0
// The sampler: every window once per epoch, a function of its arguments alone; windows for
// evaluation.
#include "engine/data/sampler.h"

#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace halfpipe::data {
namespace {

using files::expect_error;

using Tokens = std::vector<std::int32_t>;

// Token i has id i, so that a batch shows where it was read.
std::unique_ptr<TokenSource> counting_tokens(std::uint32_t size) {
  std::vector<std::uint32_t> tokens(size);
  std::iota(tokens.begin(), tokens.end(), 0U);
  return tokens_in_memory(std::move(tokens), "the training text");
}

struct Shape {
  std::int64_t num_tokens;
  std::int64_t seq_len;
  std::int64_t global_batch_size;
};

void PrintTo(const Shape& shape, std::ostream* out) {
  *out << fmt::format("n{} T{} G{}", shape.num_tokens, shape.seq_len, shape.global_batch_size);
}

class BatchSamplers : public testing::TestWithParam<Shape> {
 protected:
  // Starts of the sequences of `epoch`, in the order of training.
  [[nodiscard]] std::vector<std::int64_t> starts_of_epoch(std::uint64_t seed,
                                                          std::int64_t epoch) const {
    const auto [n, T, G] = GetParam();
    const BatchSampler sampler(seed, n, T, G);
    std::vector<std::int64_t> starts;
    for (std::int64_t i = 0; i < sampler.num_windows(); ++i) {
      const std::int64_t sequence = epoch * sampler.num_windows() + i;
      starts.push_back(sampler.start_of(sequence / G, sequence % G));
    }
    return starts;
  }
};

TEST_P(BatchSamplers, EveryWindowComesOncePerEpoch) {
  const auto [n, T, G] = GetParam();
  const std::int64_t num_windows = BatchSampler(1, n, T, G).num_windows();
  EXPECT_EQ(num_windows, (n - 1) / T);
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    auto starts = starts_of_epoch(1, epoch);
    std::sort(starts.begin(), starts.end());
    const std::int64_t phase = starts.front();
    EXPECT_GE(phase, 0);
    EXPECT_LT(phase, T);
    for (std::int64_t window = 0; window < num_windows; ++window) {
      EXPECT_EQ(starts[static_cast<std::size_t>(window)], std::min(phase + window * T, n - 1 - T));
    }
    EXPECT_EQ(std::adjacent_find(starts.begin(), starts.end()), starts.end());
  }
}

TEST_P(BatchSamplers, EpochsAndSeedsDiffer) {
  const auto [n, T, G] = GetParam();
  // Two orders of a few windows may well agree; 9 epochs of them or 9 seeds, all with the same
  // order and phase, not unless there is but one.
  std::set<std::vector<std::int64_t>> by_epoch;
  std::set<std::vector<std::int64_t>> by_seed;
  for (int i = 0; i < 9; ++i) {
    by_epoch.insert(starts_of_epoch(1, i));
    by_seed.insert(starts_of_epoch(static_cast<std::uint64_t>(i), 0));
  }
  const bool has_choice = n > T + 1;
  EXPECT_EQ(by_epoch.size() > 1, has_choice);
  EXPECT_EQ(by_seed.size() > 1, has_choice);
}

TEST_P(BatchSamplers, AResumedRunReadsTheSame) {
  const auto [n, T, G] = GetParam();
  const BatchSampler uninterrupted(7, n, T, G);
  std::vector<std::int64_t> starts;
  for (std::int64_t step = 0; step < 20; ++step) {
    for (std::int64_t i = 0; i < G; ++i) starts.push_back(uninterrupted.start_of(step, i));
  }
  // Backwards, each from a sampler of its own: nothing but the arguments counts.
  for (std::int64_t step = 19; step >= 0; --step) {
    for (std::int64_t i = G - 1; i >= 0; --i) {
      EXPECT_EQ(BatchSampler(7, n, T, G).start_of(step, i),
                starts[static_cast<std::size_t>(step * G + i)]);
    }
  }
}

TEST_P(BatchSamplers, TargetsAreInputsShiftedByOneInAnySliceOfTheBatch) {
  const auto [n, T, G] = GetParam();
  const BatchSampler sampler(3, n, T, G);
  const auto source = counting_tokens(static_cast<std::uint32_t>(n));
  for (const std::int64_t step : {0, 1, 1000}) {
    for (std::int64_t first = 0; first < G; first += 2) {
      const SequenceRange range{first, std::min<std::int64_t>(2, G - first)};
      Tokens inputs(static_cast<std::size_t>(range.count * T), -1);
      Tokens targets(inputs.size(), -1);
      sampler.fill(step, range, *source, inputs, targets);
      for (std::int64_t i = 0; i < range.count * T; ++i) {
        const std::int64_t start = sampler.start_of(step, range.first + i / T);
        ASSERT_EQ(inputs[static_cast<std::size_t>(i)], start + i % T);
        ASSERT_EQ(targets[static_cast<std::size_t>(i)], start + i % T + 1);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         BatchSamplers,
                         testing::Values(Shape{1000, 10, 4},
                                         Shape{1001, 10, 4},  // no token to spare
                                         Shape{1009, 10, 7},
                                         Shape{11, 10, 3},   // one window, one place
                                         Shape{15, 10, 3},   // one window, five places
                                         Shape{21, 10, 64},  // many epochs per step
                                         Shape{5000, 1, 5},
                                         Shape{4097, 64, 12},
                                         Shape{65537, 16, 1}));

TEST(BatchSampler, MovesTheCutsFromEpochToEpoch) {
  const BatchSampler sampler(1, 1001, 100, 10);  // one epoch per step
  std::set<std::int64_t> phases;
  for (std::int64_t step = 0; step < 200; ++step) {
    std::int64_t smallest = 1001;
    for (std::int64_t i = 0; i < 10; ++i) smallest = std::min(smallest, sampler.start_of(step, i));
    phases.insert(smallest);
  }
  // 200 draws from 100 phases leave about 100 / e^2 = 13 undrawn.
  EXPECT_GT(phases.size(), 75U);
}

TEST(BatchSampler, KnownStartsStayAsTheyAre) {
  // Pinned: another sampler would make old checkpoints resume on other data.
  const BatchSampler sampler(1, 1003854, 64, 12);
  const std::vector<std::int64_t> starts{sampler.start_of(0, 0), sampler.start_of(0, 1),
                                         sampler.start_of(1999, 11)};
  EXPECT_EQ(starts, (std::vector<std::int64_t>{638683, 431963, 892381}));
}

TEST(BatchSampler, LeavesOutWhatIsNotWanted) {
  const BatchSampler sampler(3, 100, 5, 4);
  const auto source = counting_tokens(100);
  Tokens inputs(10);
  Tokens targets(10);
  sampler.fill(0, {1, 2}, *source, inputs, {});
  sampler.fill(0, {1, 2}, *source, {}, targets);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(targets[i], inputs[i] + 1);
}

TEST(BatchSampler, RefusesTooShortData) {
  expect_error<FileError>([] { BatchSampler(1, 64, 64, 1); },
                          {"64 tokens", "seq_len (64)", "at least 65"});
  expect_error<FileError>([] { BatchSampler(1, 0, 64, 1); }, {"0 tokens"});
}

TEST(BatchSampler, RefusesWhatItWasNotMadeFor) {
  const BatchSampler sampler(3, 100, 5, 4);
  Tokens batch(10);
  EXPECT_THROW(sampler.fill(0, {0, 2}, *counting_tokens(99), batch, batch), InternalError);
  EXPECT_THROW(sampler.fill(0, {0, 1}, *counting_tokens(100), batch, batch), InternalError);
  EXPECT_THROW(sampler.fill(0, {3, 2}, *counting_tokens(100), batch, batch), InternalError);
  EXPECT_THROW((void)sampler.start_of(-1, 0), InternalError);
  EXPECT_THROW((void)sampler.start_of(0, 4), InternalError);
}

class EvaluationSizes : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(EvaluationSizes, EveryTokenButTheFirstIsATargetOnce) {
  const auto [n, T] = GetParam();
  const EvaluationWindows windows(n, T, 0, PartialWindow::kKeep);
  const auto source = counting_tokens(static_cast<std::uint32_t>(n));
  Tokens inputs(static_cast<std::size_t>(T));
  Tokens targets(inputs.size());
  std::int32_t next = 1;
  for (std::int64_t window = 0; window < windows.num_windows(); ++window) {
    windows.fill({window, 1}, *source, inputs, targets);
    ASSERT_GE(windows.num_targets(window), 1);
    for (std::int64_t t = 0; t < T; ++t) {
      const auto i = static_cast<std::size_t>(t);
      const bool is_real = t < windows.num_targets(window);
      EXPECT_EQ(targets[i], is_real ? next : 0);
      EXPECT_EQ(inputs[i], is_real ? next - 1 : 0);
      next += is_real ? 1 : 0;
    }
  }
  EXPECT_EQ(next, n);
}

TEST_P(EvaluationSizes, DroppingThePartialWindowLeavesWholeOnes) {
  const auto [n, T] = GetParam();
  if (n <= T) {
    expect_error<FileError>([n = n, T = T] { EvaluationWindows(n, T, 0); },
                            {fmt::format("{} tokens", n)});
    return;
  }
  const EvaluationWindows windows(n, T, 0);
  EXPECT_EQ(windows.num_windows(), (n - 1) / T);
  for (std::int64_t window = 0; window < windows.num_windows(); ++window)
    EXPECT_EQ(windows.num_targets(window), T);
}

INSTANTIATE_TEST_SUITE_P(Sizes,
                         EvaluationSizes,
                         testing::Combine(testing::Values(2, 3, 9, 10, 11, 12, 100, 101, 109),
                                          testing::Values(1, 7, 10)));

TEST(EvaluationWindows, StopAtTheLimit) {
  EXPECT_EQ(EvaluationWindows(1001, 10, 7).num_windows(), 7);
  EXPECT_EQ(EvaluationWindows(1001, 10, 1000).num_windows(), 100);
}

TEST(EvaluationWindows, MayBeReadBeyondTheEnd) {
  const EvaluationWindows windows(25, 10, 0, PartialWindow::kKeep);
  EXPECT_EQ(windows.num_windows(), 3);
  Tokens inputs(20, -1);
  Tokens targets(20, -1);
  windows.fill({2, 2}, *counting_tokens(25), inputs, targets);
  EXPECT_EQ(Tokens(inputs.begin(), inputs.begin() + 5), (Tokens{20, 21, 22, 23, 0}));
  EXPECT_EQ(Tokens(targets.begin(), targets.begin() + 5), (Tokens{21, 22, 23, 24, 0}));
  EXPECT_EQ(std::count(inputs.begin() + 4, inputs.end(), 0), 16);
  EXPECT_EQ(windows.num_targets(2), 4);
  EXPECT_EQ(windows.num_targets(3), 0);
}

TEST(EvaluationWindows, RefuseTooShortData) {
  expect_error<FileError>([] { EvaluationWindows(1, 10, 0, PartialWindow::kKeep); },
                          {"1 tokens", "at least 2"});
}

}  // namespace
}  // namespace halfpipe::data
