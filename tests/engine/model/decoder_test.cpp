// SPDX-License-Identifier: Apache-2.0
// The key-value cache gives the distribution that a whole forward pass gives.
#include "engine/model/decoder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/model/loss_evaluator.h"
#include "kernels/cpu/cpu_backend.h"

namespace halfpipe::model {
namespace {

TransformerConfig small(bool tied) {
  TransformerConfig config;
  config.num_layers = 3;
  config.num_heads = 2;
  config.hidden_size = 16;
  config.seq_len = 9;
  config.vocab_size = 13;
  config.tie_embeddings = tied;
  return config;
}

void initialise_all(ParameterSet& parameters) {
  for (Parameter& parameter : parameters.all()) {
    ParameterSpec spec = parameter.spec;
    spec.initialisation =
        Initialisation::kNormal;  // biases and norms too, so that none is left out unnoticed
    spec.standard_deviation = 0.3F;
    initialise(spec, 5, parameter.value);
  }
}

const std::vector<std::int32_t> kTokens{3, 0, 12, 7, 7, 1, 5, 9, 2, 4};

double cross_entropy(std::span<const float> logits, std::int32_t target) {
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  return std::log(sum) - logits[static_cast<std::size_t>(target)];
}

class DecoderOf : public ::testing::TestWithParam<bool> {};

TEST_P(DecoderOf, AgreesWithAWholeForwardPass) {
  const TransformerConfig config = small(GetParam());
  const auto backend = cpu::make_cpu_backend(1);
  LossEvaluator evaluator(config, *backend, 1);
  initialise_all(evaluator.parameters());
  Decoder decoder(config, *backend);
  initialise_all(decoder.parameters());

  const std::span<const std::int32_t> tokens(kTokens);
  double decoded = 0.0;
  for (std::size_t i = 0; i < 9; ++i) {
    decoded += cross_entropy(decoder.extend(tokens.subspan(i, 1)), kTokens[i + 1]);
  }
  const double whole = evaluator.sum_of_losses(tokens.first(9), tokens.subspan(1), 9);
  // Float32 through three blocks, in another order of sums.
  EXPECT_NEAR(decoded, whole, 1e-5 * whole);
}

TEST_P(DecoderOf, DoesNotCareHowThePromptIsCut) {
  const TransformerConfig config = small(GetParam());
  const auto backend = cpu::make_cpu_backend(1);
  Decoder decoder(config, *backend);
  initialise_all(decoder.parameters());
  const std::span<const std::int32_t> tokens(kTokens);
  const auto at_once = decoder.extend(tokens.first(9));
  const std::vector<float> expected(at_once.begin(), at_once.end());
  decoder.reset();
  static_cast<void>(decoder.extend(tokens.first(4)));
  const auto in_parts = decoder.extend(tokens.subspan(4, 5));
  for (std::size_t v = 0; v < expected.size(); ++v) EXPECT_NEAR(in_parts[v], expected[v], 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Heads, DecoderOf, ::testing::Values(true, false));

}  // namespace
}  // namespace halfpipe::model
