// SPDX-License-Identifier: Apache-2.0
// Steps that begin before their norm is known, and how they are put back.
#include "engine/runtime/early_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/runtime/step_sums.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::runtime {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Parameters, moments and their early step, on a device of its own.
struct Stepped {
  explicit Stepped(const optimizer::OptimizerConfig& config)
      : backend(cpu::make_cpu_backend(1)), stream(backend->make_stream("test")) {
    model::TransformerConfig model;
    model.num_layers = 1;
    model.num_heads = 1;
    model.hidden_size = 6;
    model.seq_len = 5;
    model.vocab_size = 7;
    const auto specs = model::all_parameters(model);
    for (const auto& spec : specs) parameters.add(specs, spec.name);
    parameters.allocate(*backend, DType::kFloat32);
    for (model::Parameter& parameter : parameters.all()) {
      const std::int64_t count = parameter.count();
      std::ranges::copy(testing::random_values(parameter.spec.name, count), parameter.value);
      std::ranges::copy(testing::random_values(parameter.spec.name + " gradient", count),
                        parameter.gradient);
    }
    adamw.emplace(config, /*seed=*/3, parameters, *backend);
    early.emplace(config, *adamw, parameters, *backend,
                  optimizer::roll_back_bytes(optimizer::all_elements(parameters.all()), config));
    adamw->step(1, 0.1, 1.0, *stream);  // moments that are not zero
  }

  void begin(double own_squares, std::size_t num_pieces) {
    std::size_t num_asked = 0;
    early->begin(
        kSecond, own_squares, [&] { return ++num_asked == num_pieces; }, *stream);
  }
  /// What OptimizerStep does with a norm of this factor.
  void settle(double factor) {
    optimizer::Update update = kSecond;
    update.grad_scale = factor;
    for (std::size_t i = early->settle(factor, *stream); i < adamw->pieces().size(); ++i) {
      adamw->step_piece(i, update, *stream);
    }
  }

  /// Values and moments.
  [[nodiscard]] std::string state() const {
    std::string bytes;
    for (std::size_t i = 0; i < parameters.all().size(); ++i) {
      const auto count = static_cast<std::size_t>(parameters.all()[i].count());
      const std::size_t moment = count * size_of(adamw->moment_dtype());
      bytes.append(reinterpret_cast<const char*>(parameters.all()[i].value), count * sizeof(float));
      bytes.append(static_cast<const char*>(adamw->first_moment(i)), moment);
      bytes.append(static_cast<const char*>(adamw->second_moment(i)), moment);
    }
    return bytes;
  }

  static constexpr optimizer::Update kSecond{.step = 2, .learning_rate = 0.1, .grad_scale = 1.0};

  std::unique_ptr<device::Backend> backend;
  std::unique_ptr<device::Stream> stream;
  model::ParameterSet parameters;
  std::optional<optimizer::AdamW> adamw;
  std::optional<EarlyStep> early;
};

constexpr std::size_t kAll = 1000;  // pieces: more than there are

class EarlySteppedTo : public ::testing::TestWithParam<std::size_t> {
 protected:
  static optimizer::OptimizerConfig config() {
    optimizer::OptimizerConfig config;
    config.post_validation = "on";
    config.clip_grad_norm = 1.0;
    return config;
  }
  /// The state after two steps of which the second is scaled by a factor that is known.
  static std::string expected(const optimizer::OptimizerConfig& config, double factor) {
    Stepped stepped(config);
    stepped.adamw->step(2, 0.1, factor, *stepped.stream);
    return stepped.state();
  }
};

TEST_P(EarlySteppedTo, IsTheStepItselfWhereTheGuessWasRight) {
  Stepped stepped(config());
  stepped.begin(0.5, GetParam());
  stepped.settle(1.0);
  EXPECT_EQ(stepped.state(), expected(config(), 1.0));
  EXPECT_EQ(stepped.early->counts().begun, 1);
  EXPECT_EQ(stepped.early->counts().put_back, 0);
}

TEST_P(EarlySteppedTo, IsDoneAgainWhereTheNormAsksForClipping) {
  for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
    optimizer::OptimizerConfig with = config();
    with.moments = moments;
    Stepped stepped(with);
    stepped.begin(0.5, GetParam());
    stepped.settle(0.3);
    EXPECT_TRUE(stepped.state() == expected(with, 0.3)) << size_of(moments);
    EXPECT_FALSE(stepped.state() == expected(with, 1.0)) << size_of(moments);
    EXPECT_EQ(stepped.early->counts().put_back, 1);
  }
}

TEST_P(EarlySteppedTo, LeavesNoTraceWhereThereIsNoStep) {
  for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
    optimizer::OptimizerConfig with = config();
    with.moments = moments;
    Stepped stepped(with);
    const std::string before = stepped.state();
    stepped.begin(0.5, GetParam());
    EXPECT_FALSE(stepped.state() == before) << size_of(moments);
    EXPECT_TRUE(stepped.early->take_back(*stepped.stream));
    EXPECT_TRUE(stepped.state() == before) << size_of(moments);
    EXPECT_FALSE(stepped.early->take_back(*stepped.stream));
  }
}

INSTANTIATE_TEST_SUITE_P(Pieces,
                         EarlySteppedTo,
                         ::testing::Values(1, 3, kAll),
                         ::testing::PrintToStringParamName());

class EarlyStepGuess : public EarlySteppedTo {
 protected:
  [[nodiscard]] static bool begins(Stepped& stepped, double own_squares) {
    const std::int64_t before = stepped.early->counts().begun;
    stepped.begin(own_squares, kAll);
    return stepped.early->counts().begun > before;
  }
};

TEST_F(EarlyStepGuess, IsNotMadeWhereThisRankKnowsBetter) {
  for (const double squares : {4.0, kNan, std::numeric_limits<double>::infinity()}) {
    Stepped stepped(config());
    const std::string before = stepped.state();
    EXPECT_FALSE(begins(stepped, squares)) << squares;
    EXPECT_TRUE(stepped.state() == before) << squares;
  }
  optimizer::OptimizerConfig unclipped = config();
  unclipped.clip_grad_norm = 0.0;
  Stepped stepped(unclipped);
  EXPECT_TRUE(begins(stepped, 4.0));
}

TEST_F(EarlyStepGuess, IsMadeAgainAfterAStepWithoutClipping) {
  Stepped stepped(config());
  EXPECT_TRUE(begins(stepped, 0.5));
  stepped.settle(0.3);
  EXPECT_FALSE(begins(stepped, 0.5));
  stepped.settle(1.0);
  EXPECT_TRUE(begins(stepped, 0.5));
}

// The loss is the one entry that several ranks have: its sum depends on their order.
TEST(StepSumsInTwoHalves, AreThoseOfOneCall) {
  constexpr int kRanks = 4;
  const std::vector<double> losses = {1e16, 1.0, -1e16, 0.25};
  transport::LocalGroup group(kRanks);
  std::vector<StepTotals> once(kRanks);
  std::vector<StepTotals> halves(kRanks);
  {
    std::vector<std::jthread> ranks;
    for (std::size_t rank = 0; rank < kRanks; ++rank) {
      ranks.emplace_back([&, rank] {
        const auto world = group.make_transport(static_cast<int>(rank));
        const auto backend = cpu::make_cpu_backend(1);
        const auto stream = backend->make_stream("test");
        StepSums sums(kRanks, *world);
        const auto fill = [&] {
          sums.clear();
          sums.squares()[rank] = 0.1 * static_cast<double>(rank + 1);
        };
        const RankShare mine{.loss = losses[rank],
                             .stop_requested = rank == 2,
                             .span = 1.0 + static_cast<double>(rank),
                             .gather = 9.0 - static_cast<double>(rank)};
        fill();
        once[rank] = sums.sum(mine);
        for (int step = 0; step < 2; ++step) {
          fill();
          sums.start(mine, *stream);
          while (!sums.has_arrived(*stream)) std::this_thread::yield();
          halves[rank] = sums.finish(*stream);
        }
      });
    }
  }
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    EXPECT_EQ(once[rank].loss, ((1e16 + 1.0) - 1e16) + 0.25);
    EXPECT_EQ(std::memcmp(&once[rank].norm, &halves[rank].norm, sizeof(double)), 0);
    EXPECT_EQ(halves[rank].loss, once[rank].loss);
    EXPECT_TRUE(halves[rank].stop_requested);
    EXPECT_EQ(halves[rank].span, 4.0);
    EXPECT_EQ(halves[rank].gather, 9.0);
  }
}

}  // namespace
}  // namespace halfpipe::runtime
