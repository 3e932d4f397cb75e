// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

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
  AdamW adamw(config, parameters_, *backend_);
  adamw.step(1, 0.1, 1.0, *stream_);
  // At the first step m / (1 - beta1) is the gradient and v / (1 - beta2) its square, so the update
  // is learning_rate.
  EXPECT_NEAR(parameters_[bias_].value[0], 1.0 - 0.1, 1e-6);
  EXPECT_NEAR(parameters_[matrix_].value[0], 1.0 - 0.1 * 0.5 - 0.1, 1e-6);
  EXPECT_NEAR(adamw.first_moment(0)[0], 0.1 * 0.5, 1e-7);
  EXPECT_NEAR(adamw.second_moment(0)[0], 0.05 * 0.25, 1e-7);
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
