// SPDX-License-Identifier: Apache-2.0
// Steps that begin before their norm is known, and how they are put back.
#include "engine/runtime/step/early_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/runtime/step/step_sums.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/ops/reduction.h"
#include "parallel/transport/local_group.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::runtime {
namespace {

struct Numbers {
  DType passes;
  DType moments;
  int zero_stage;
};

/// Parameters, moments and their early step, on a device of its own.
struct Stepped {
  explicit Stepped(const Numbers& numbers)
      : backend(cpu::make_cpu_backend(1)), stream(backend->make_stream("test")) {
    config.model.num_layers = 1;
    config.model.num_heads = 1;
    config.model.hidden_size = 6;
    config.model.seq_len = 5;
    config.model.vocab_size = 7;
    config.model.dtype = numbers.passes;
    config.optimizer.moments = numbers.moments;
    config.optimizer.zero_stage = numbers.zero_stage;
    config.optimizer.clip_grad_norm = 1.0;
    config.optimizer.post_validation = "on";
    const auto specs = model::all_parameters(config.model);
    for (const auto& spec : specs) parameters.add(specs, spec.name);
    parameters.allocate(*backend, config.model.dtype);
    for (model::Parameter& parameter : parameters.all()) {
      const std::int64_t count = parameter.count();
      std::ranges::copy(testing::random_values(parameter.spec.name, count), parameter.value);
      std::ranges::copy(testing::random_values(parameter.spec.name + " gradient", count),
                        parameter.gradient);
    }
    adamw.emplace(config.optimizer, /*seed=*/3, parameters, *backend);
    early.emplace(config, *adamw, parameters, *backend,
                  early_step_bytes(config, optimizer::all_elements(parameters.all())));
    adamw->step(1, 0.1, 1.0, *stream);  // moments that are not zero
  }

  void show() { early->show(update(0.0), *stream); }
  void take(double factor) { early->take(update(factor), *stream); }

  /// The second step, with this factor.
  static optimizer::Update update(double factor) {
    return {.step = 2, .learning_rate = 0.1, .grad_scale = factor};
  }

  /// What passes read.
  [[nodiscard]] std::string operands() const {
    std::string bytes;
    for (const model::Parameter& each : parameters.all()) {
      bytes.append(static_cast<const char*>(each.operand()),
                   static_cast<std::size_t>(each.count()) * size_of(config.model.dtype));
    }
    return bytes;
  }
  /// All of it.
  [[nodiscard]] std::string state() const {
    std::string bytes = operands();
    for (std::size_t i = 0; i < parameters.all().size(); ++i) {
      const auto count = static_cast<std::size_t>(parameters.all()[i].count());
      const std::size_t moment = count * size_of(adamw->moment_dtype());
      bytes.append(reinterpret_cast<const char*>(parameters.all()[i].value), count * sizeof(float));
      bytes.append(static_cast<const char*>(adamw->first_moment(i)), moment);
      bytes.append(static_cast<const char*>(adamw->second_moment(i)), moment);
    }
    return bytes;
  }

  std::unique_ptr<device::Backend> backend;
  std::unique_ptr<device::Stream> stream;
  config::RunConfig config;
  model::ParameterSet parameters;
  std::optional<optimizer::AdamW> adamw;
  std::optional<EarlyStep> early;
};

class EarlySteppedIn : public ::testing::TestWithParam<Numbers> {
 protected:
  Stepped stepped{GetParam()};
  Stepped waited{GetParam()};  // the same, by a step whose norm is known
};

TEST_P(EarlySteppedIn, ShowsWhatPassesWillReadAndTakesThatStep) {
  waited.adamw->step(2, 0.1, 1.0, *waited.stream);
  stepped.show();
  EXPECT_TRUE(stepped.operands() == waited.operands());
  EXPECT_FALSE(stepped.state() == waited.state());  // moments
  EXPECT_TRUE(stepped.early->look_at(1.0));
  stepped.take(1.0);
  EXPECT_TRUE(stepped.state() == waited.state());
  EXPECT_EQ(stepped.early->counts().begun, 1);
  EXPECT_EQ(stepped.early->counts().put_back, 0);
}

TEST_P(EarlySteppedIn, TakesTheStepOfAnotherFactor) {
  waited.adamw->step(2, 0.1, 0.3, *waited.stream);
  stepped.show();
  EXPECT_FALSE(stepped.operands() == waited.operands());
  EXPECT_FALSE(stepped.early->look_at(0.3));
  stepped.take(0.3);
  EXPECT_TRUE(stepped.state() == waited.state());
  EXPECT_EQ(stepped.early->counts().put_back, 1);
}

TEST_P(EarlySteppedIn, LeavesNoTraceWhereThereIsNoStep) {
  const std::string before = stepped.state();
  stepped.show();
  EXPECT_FALSE(stepped.state() == before);
  stepped.early->take_back(*stepped.stream);
  stepped.parameters.round_copies(*stepped.backend, *stepped.stream);
  EXPECT_TRUE(stepped.state() == before);
  EXPECT_EQ(stepped.early->counts().put_back, 1);
}

TEST_P(EarlySteppedIn, IsWorthAGuessAfterAStepWithoutClipping) {
  EXPECT_TRUE(stepped.early->is_worth_a_guess());
  EXPECT_FALSE(stepped.early->look_at(0.3));
  EXPECT_FALSE(stepped.early->is_worth_a_guess());
  EXPECT_TRUE(stepped.early->look_at(1.0));
  EXPECT_TRUE(stepped.early->is_worth_a_guess());
}

std::string name_of(const ::testing::TestParamInfo<Numbers>& tested) {
  return std::string(name_of(tested.param.passes)) + "_moments_in_" +
         std::string(name_of(tested.param.moments)) +
         (tested.param.zero_stage > 0 ? "_sharded" : "");
}

INSTANTIATE_TEST_SUITE_P(Numbers,
                         EarlySteppedIn,
                         ::testing::Values(Numbers{DType::kFloat32, DType::kFloat32, 0},
                                           Numbers{DType::kFloat32, DType::kBFloat16, 1},
                                           Numbers{DType::kBFloat16, DType::kFloat32, 0},
                                           Numbers{DType::kBFloat16, DType::kBFloat16, 0},
                                           Numbers{DType::kBFloat16, DType::kBFloat16, 1}),
                         name_of);

// A replica that steps parts of a matrix and all of a vector behind it: what the others have
// stepped meanwhile is not its own to put back.
TEST(EarlyStepOfParts, PutsBackWhatThisRankStepsAndNothingElse) {
  const auto backend = cpu::make_cpu_backend(1);
  const auto stream = backend->make_stream("test");
  config::RunConfig config;
  config.model.num_layers = 1;
  config.model.num_heads = 1;
  config.model.hidden_size = 128;
  config.model.vocab_size = 600;
  config.optimizer.zero_stage = 1;
  config.optimizer.clip_grad_norm = 1.0;
  config.optimizer.post_validation = "on";
  const auto specs = model::all_parameters(config.model);
  model::ParameterSet parameters;
  for (const char* const name : {model::kTokenEmbeddingName, "transformer.ln_f.weight"}) {
    parameters.add(specs, name);
  }
  parameters.allocate(*backend, config.model.dtype);
  for (model::Parameter& parameter : parameters.all()) {
    std::fill_n(parameter.value, parameter.count(), 1.0F);
    std::fill_n(parameter.gradient, parameter.count(), 0.5F);
  }
  const std::int64_t cut = ops::kSquaresCut;
  const std::int64_t count = parameters[0].count();
  const std::vector<optimizer::ElementRanges> held = {{{0, cut}, {3 * cut, count}},
                                                      {{0, parameters[1].count()}}};
  optimizer::AdamW adamw(config.optimizer, /*seed=*/3, parameters, *backend, held,
                         optimizer::moment_bytes(held, config.optimizer.moments));
  EarlyStep early(config, adamw, parameters, *backend, early_step_bytes(config, held));
  early.show(Stepped::update(0.0), *stream);
  std::fill(parameters[0].value + cut, parameters[0].value + 3 * cut, 7.0F);
  for (const std::int64_t own : {std::int64_t{0}, cut - 1, 3 * cut, count - 1}) {
    EXPECT_NE(parameters[0].value[own], 1.0F);
  }
  early.take_back(*stream);
  for (std::int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(parameters[0].value[i], i < cut || i >= 3 * cut ? 1.0F : 7.0F) << i;
  }
  for (std::int64_t i = 0; i < parameters[1].count(); ++i) {
    ASSERT_EQ(parameters[1].value[i], 1.0F) << i;
  }
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
