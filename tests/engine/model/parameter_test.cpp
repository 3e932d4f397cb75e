// SPDX-License-Identifier: Apache-2.0
#include "engine/model/parameter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace halfpipe::model {
namespace {

TransformerConfig small() {
  TransformerConfig config;
  config.num_layers = 3;
  config.num_heads = 2;
  config.hidden_size = 8;
  config.seq_len = 5;
  config.vocab_size = 11;
  return config;
}

std::set<std::string> names_of(const TransformerConfig& config) {
  std::set<std::string> names;
  for (const ParameterSpec& spec : all_parameters(config)) names.insert(spec.name);
  return names;
}

TEST(Parameters, HaveTheNamesOfHuggingFace) {
  const std::set<std::string> names = names_of(small());
  EXPECT_EQ(names.size(), 2 + 3 * 12 + 2U);
  EXPECT_TRUE(names.contains("transformer.h.2.attn.c_attn.weight"));
  EXPECT_TRUE(names.contains("transformer.ln_f.bias"));
  EXPECT_FALSE(names.contains("lm_head.weight"));
}

TEST(Parameters, OfAnUntiedModelIncludeItsHead) {
  TransformerConfig config = small();
  config.tie_embeddings = false;
  EXPECT_TRUE(names_of(config).contains("lm_head.weight"));
}

TEST(Parameters, WithoutBiasesHaveNone) {
  TransformerConfig config = small();
  config.bias = false;
  for (const std::string& name : names_of(config)) EXPECT_FALSE(name.ends_with(".bias")) << name;
}

TEST(Parameters, DecayOnMatricesAndEmbeddingsOnly) {
  for (const ParameterSpec& spec : all_parameters(small())) {
    EXPECT_EQ(spec.decay, spec.shape.rank() == 2) << spec.name;
  }
}

ParameterSpec normal_spec(const std::string& name) {
  return {name, {64, 1001}, Initialisation::kNormal, 0.02F, true};
}

std::vector<float> initial(const ParameterSpec& spec, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(spec.shape.num_elements()));
  initialise(spec, seed, values.data());
  return values;
}

TEST(Initialisation, DependsOnSeedAndNameAlone) {
  const auto values = initial(normal_spec("a"), 1);
  EXPECT_EQ(values, initial(normal_spec("a"), 1));
  EXPECT_NE(values, initial(normal_spec("b"), 1));
  EXPECT_NE(values, initial(normal_spec("a"), 2));
}

TEST(Initialisation, HasTheStatedMoments) {
  const auto values = initial(normal_spec("a"), 3);
  const auto n = static_cast<double>(values.size());
  double sum = 0.0;
  double squares = 0.0;
  for (const float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  // Five standard errors of the mean and of the deviation of n normal numbers.
  EXPECT_NEAR(sum / n, 0.0, 5.0 * 0.02 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), 0.02, 5.0 * 0.02 / std::sqrt(2.0 * n));
}

TEST(Initialisation, ScalesResidualProjectionsByDepth) {
  for (const ParameterSpec& spec : all_parameters(small())) {
    if (spec.initialisation != Initialisation::kNormal) continue;
    const bool residual = spec.name.ends_with("c_proj.weight");
    EXPECT_FLOAT_EQ(spec.standard_deviation, residual ? 0.02F / std::sqrt(6.0F) : 0.02F)
        << spec.name;
  }
}

TEST(ParameterSet, FindsNamesInAnyOrderOnce) {
  const std::vector<ParameterSpec> model = {{"a", {1}, Initialisation::kZero},
                                            {"b", {2}, Initialisation::kZero},
                                            {"c", {3}, Initialisation::kZero}};
  ParameterSet set;
  EXPECT_EQ(set.add(model, "c"), 0);
  EXPECT_EQ(set.add(model, "a"), 1);
  EXPECT_EQ(set.add(model, "c"), 0);
  EXPECT_EQ(set.add(model, "b"), 2);
  EXPECT_EQ(set[0].global_index, 2);
  EXPECT_EQ(set[2].global_index, 1);
  EXPECT_EQ(set.find("b"), &set[2]);
  EXPECT_EQ(set.find("d"), nullptr);
  EXPECT_THROW(set.add(model, "d"), InternalError);
}

TEST(ParameterSet, TakesManyNamesInTimeThatGrowsWithTheirNumber) {
  std::vector<ParameterSpec> model;
  constexpr int kMany = 300000;  // an hour, where every name is compared with every other
  for (int i = 0; i < kMany; ++i) model.push_back({block_prefix(i), {1}, Initialisation::kZero});
  ParameterSet set;
  for (const ParameterSpec& spec : model) set.add(model, spec.name);
  EXPECT_EQ(set.all().size(), model.size());
}

TEST(ParameterSet, GivesATiedTableTwoGradients) {
  ParameterSet set;
  const int table = set.add(all_parameters(small()), kTokenEmbeddingName);
  EXPECT_EQ(set.add(all_parameters(small()), kTokenEmbeddingName), table);
  const ParameterBytes once = parameter_bytes(set.all());
  EXPECT_EQ(once.gradients, once.values);
  set[table].has_head_gradient = true;
  const ParameterBytes twice = parameter_bytes(set.all());
  EXPECT_EQ(twice.gradients, 2 * twice.values);
}

}  // namespace
}  // namespace halfpipe::model
