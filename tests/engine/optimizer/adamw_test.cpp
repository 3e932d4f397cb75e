// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/core/stochastic_rounding.h"
#include "kernels/cpu/cpu_backend.h"

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
  EXPECT_EQ(adamw.bytes(), moment_bytes(parameters_.all(), DType::kBFloat16));
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
  EXPECT_EQ(moment_bytes(parameters, DType::kFloat32), 2U * (640 + 64));
  EXPECT_EQ(moment_bytes(parameters, DType::kBFloat16), 2U * (320 + 64));
}

TEST_F(OnePair, GradientSquaresAreOfOwnedParameters) {
  std::vector<double> sums(static_cast<std::size_t>(parameters_[bias_].global_index) + 1, -1.0);
  parameters_[bias_].owned = false;
  device::Buffer memory(*backend_, 4096);
  device::Arena workspace(memory.bytes_pointer(), memory.bytes());
  gradient_squares(parameters_, *backend_, workspace, *stream_, sums);
  EXPECT_DOUBLE_EQ(sums[static_cast<std::size_t>(parameters_[matrix_].global_index)], 4 * 0.25);
  EXPECT_DOUBLE_EQ(sums[static_cast<std::size_t>(parameters_[bias_].global_index)], -1.0);
}

}  // namespace
}  // namespace halfpipe::optimizer
