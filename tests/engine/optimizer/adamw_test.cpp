// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer/adamw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/core/stochastic_rounding.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/ops/reduction.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::optimizer {
namespace {

TEST(ClipFactor, ScalesDownToTheLimitAndNeverUp) {
  EXPECT_DOUBLE_EQ(clip_factor(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_DOUBLE_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_factor(0.0, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_factor(100.0, 0.0), 1.0);  // off
}

class OnePair : public ::testing::Test {
 protected:
  OnePair() : backend_(cpu::make_cpu_backend(1)), stream_(backend_->make_stream("test")) {
    model::TransformerConfig config;
    config.num_layers = 1;
    config.num_heads = 1;
    config.hidden_size = 2;
    config.seq_len = 2;
    config.vocab_size = 2;
    const auto specs = model::all_parameters(config);
    matrix_ = parameters_.add(specs, model::kTokenEmbeddingName);
    bias_ = parameters_.add(specs, "transformer.ln_f.bias");
    parameters_.allocate(*backend_, DType::kFloat32);
    for (int i = 0; i < 4; ++i) {
      parameters_[matrix_].value[i] = 1.0F;
      parameters_[matrix_].gradient[i] = 0.5F;
    }
    for (int i = 0; i < 2; ++i) {
      parameters_[bias_].value[i] = 1.0F;
      parameters_[bias_].gradient[i] = 0.5F;
    }
  }

  std::unique_ptr<device::Backend> backend_;
  std::unique_ptr<device::Stream> stream_;
  model::ParameterSet parameters_;
  int matrix_ = -1;
  int bias_ = -1;
};

TEST_F(OnePair, FirstStepMovesByTheLearningRateAndDecaysMatricesOnly) {
  OptimizerConfig config;
  config.weight_decay = 0.5;
  AdamW adamw(config, /*seed=*/1, parameters_, *backend_);
  adamw.step(1, 0.1, 1.0, *stream_);
  // At the first step m / (1 - beta1) is the gradient and v / (1 - beta2) its square, so the update
  // is learning_rate.
  EXPECT_NEAR(parameters_[bias_].value[0], 1.0 - 0.1, 1e-6);
  EXPECT_NEAR(parameters_[matrix_].value[0], 1.0 - 0.1 * 0.5 - 0.1, 1e-6);
  EXPECT_NEAR(*static_cast<float*>(adamw.first_moment(0)), 0.1 * 0.5, 1e-7);
  EXPECT_NEAR(*static_cast<float*>(adamw.second_moment(0)), 0.05 * 0.25, 1e-7);
}

TEST_F(OnePair, MomentsInBFloat16DrawByGlobalIndexAndStep) {
  OptimizerConfig config;
  config.moments = DType::kBFloat16;
  AdamW adamw(config, /*seed=*/9, parameters_, *backend_);
  EXPECT_EQ(adamw.bytes(), moment_bytes(all_elements(parameters_.all()), DType::kBFloat16));
  adamw.step(1, 0.1, 1.0, *stream_);
  for (const int index : {matrix_, bias_}) {
    const model::Parameter& parameter = parameters_[index];
    const auto* m =
        static_cast<const BFloat16*>(adamw.first_moment(static_cast<std::size_t>(index)));
    const auto* v =
        static_cast<const BFloat16*>(adamw.second_moment(static_cast<std::size_t>(index)));
    const auto words = rounding_words(
        {.seed = 9, .parameter = static_cast<std::uint32_t>(parameter.global_index), .step = 1}, 0);
    for (std::size_t i = 0; i < static_cast<std::size_t>(parameter.count()); ++i) {
      const float m_before = (1.0F - 0.9F) * 0.5F;
      const float v_before = (1.0F - 0.95F) * 0.5F * 0.5F;
      EXPECT_EQ(m[i], round_stochastically(m_before, words[i] & 0xffffU)) << index << " " << i;
      EXPECT_EQ(v[i], round_stochastically(v_before, words[i] >> 16)) << index << " " << i;
    }
    // By the moments before rounding.
    EXPECT_NEAR(parameter.value[0], index == bias_ ? 0.9 : 0.89, 1e-6);
  }
}

TEST(MomentBytes, AreTwoElementsAParameterEachPadded) {
  std::vector<model::Parameter> parameters(2);
  parameters[0].slice = TensorSlice::whole(40 * 4);
  parameters[1].slice = TensorSlice::whole(1);
  EXPECT_EQ(moment_bytes(all_elements(parameters), DType::kFloat32), 2U * (640 + 64));
  EXPECT_EQ(moment_bytes(all_elements(parameters), DType::kBFloat16), 2U * (320 + 64));
  EXPECT_EQ(moment_bytes({{{0, 16}, {96, 112}}, {}}, DType::kFloat32), 2U * 128);
}

// Three replicas step a matrix of several units; each holds moments of its elements alone.
TEST(AdamWOfParts, HasTheBitsOfAWholeOne) {
  const auto backend = cpu::make_cpu_backend(2);
  const auto stream = backend->make_stream("test");
  model::TransformerConfig model;
  model.num_layers = 1;
  model.num_heads = 1;
  model.hidden_size = 128;
  model.seq_len = 2;
  model.vocab_size = 600;
  const auto specs = model::all_parameters(model);
  constexpr int kSteps = 3;
  for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
    OptimizerConfig config;
    config.moments = moments;
    const auto step = [&](model::ParameterSet& parameters, AdamW& adamw) {
      for (int i = 1; i <= kSteps; ++i) adamw.step(i, 0.1, 0.5, *stream);
      return std::vector<float>(parameters[0].value, parameters[0].value + parameters[0].count());
    };
    const auto make = [&](model::ParameterSet& parameters) {
      static_cast<void>(parameters.add(specs, model::kTokenEmbeddingName));
      parameters.allocate(*backend, DType::kBFloat16);
      const std::int64_t count = parameters[0].count();
      std::ranges::copy(testing::random_values("value", count), parameters[0].value);
      std::ranges::copy(testing::random_values("gradient", count), parameters[0].gradient);
      parameters.round_copies(*backend, *stream);
    };
    model::ParameterSet whole;
    make(whole);
    AdamW of_all(config, /*seed=*/3, whole, *backend);
    const std::vector<float> before(whole[0].value, whole[0].value + whole[0].count());
    const std::vector<float> expected = step(whole, of_all);

    const std::int64_t cut = ops::kSquaresCut;
    const std::int64_t count = whole[0].count();
    for (const ElementRanges& held : {ElementRanges{{0, cut}, {3 * cut, count}},
                                      ElementRanges{{cut, 3 * cut}}, ElementRanges{}}) {
      model::ParameterSet part;
      make(part);
      AdamW of_part(config, /*seed=*/3, part, *backend, {held}, moment_bytes({held}, moments));
      EXPECT_EQ(of_part.moment_ranges(0), held);
      const std::vector<float> stepped = step(part, of_part);
      std::size_t at = 0;  // of the part's moments
      std::vector<float> wanted = before;
      for (const ElementRange& range : held) {
        std::copy(expected.begin() + range.begin, expected.begin() + range.end,
                  wanted.begin() + range.begin);
        const std::size_t size = size_of(moments);
        const auto bytes = static_cast<std::size_t>(range.count()) * size;
        const auto first = static_cast<std::size_t>(range.begin) * size;
        for (const auto& [own, all] : {std::pair{of_part.first_moment(0), of_all.first_moment(0)},
                                       {of_part.second_moment(0), of_all.second_moment(0)}}) {
          EXPECT_EQ(std::memcmp(static_cast<std::byte*>(own) + at,
                                static_cast<std::byte*>(all) + first, bytes),
                    0);
        }
        EXPECT_EQ(std::memcmp(part[0].copy + range.begin, whole[0].copy + range.begin,
                              static_cast<std::size_t>(range.count()) * sizeof(BFloat16)),
                  0);
        at += bytes;
      }
      EXPECT_EQ(stepped, wanted);
    }
  }
}

}  // namespace
}  // namespace halfpipe::optimizer
