// SPDX-License-Identifier: Apache-2.0
#include "engine/model/parameter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/cpu/cpu_backend.h"

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
  const ParameterBytes once = parameter_bytes(set.all(), DType::kFloat32);
  EXPECT_EQ(once.gradients, once.values);
  set[table].has_head_gradient = true;
  const ParameterBytes twice = parameter_bytes(set.all(), DType::kFloat32);
  EXPECT_EQ(twice.gradients, 2 * twice.values);
}

TEST(Initialisation, HasTheSameValuesForAnyNumberOfThreads) {
  ParameterSpec spec{"table", {3, (1 << 20) + 1}, Initialisation::kNormal};  // more than one part
  spec.standard_deviation = 0.02F;
  const auto count = static_cast<std::size_t>(spec.shape.num_elements());
  std::vector<float> one(count);
  std::vector<float> three(count);
  initialise(spec, 5, one.data(), 1);
  initialise(spec, 5, three.data(), 3);
  EXPECT_EQ(one, three);
}

TEST(ParameterSet, KeepsRoundedCopiesForBfloat16Only) {
  const auto backend = cpu::make_cpu_backend(1);
  const auto stream = backend->make_stream("test");
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    ParameterSet set;
    const int bias = set.add(all_parameters(small()), "transformer.h.0.ln_1.bias");
    set.add(all_parameters(small()), kTokenEmbeddingName);
    const ParameterBytes planned = parameter_bytes(set.all(), dtype);
    set.allocate(*backend, dtype);
    EXPECT_EQ(set.value_bytes(), planned.values);
    EXPECT_EQ(set.copy_bytes(), planned.copies);
    EXPECT_EQ(planned.copies > 0, dtype == DType::kBFloat16);
    for (const Parameter& parameter : set.all()) {
      initialise(parameter.spec, 1, parameter.value);
    }
    set[bias].value[0] = 1.0F + 0x1p-8F + 0x1p-12F;  // beyond the middle of two bfloat16
    set.round_copies(*backend, *stream);
    for (const Parameter& parameter : set.all()) {
      if (dtype == DType::kFloat32) {
        EXPECT_EQ(parameter.operand(), parameter.value);
        continue;
      }
      ASSERT_EQ(parameter.operand(), parameter.copy);
      for (std::int64_t i = 0; i < parameter.count(); ++i) {
        ASSERT_EQ(parameter.copy[i], to_bfloat16(parameter.value[i])) << parameter.spec.name;
      }
    }
    if (dtype == DType::kBFloat16) {
      EXPECT_EQ(to_float(set[bias].copy[0]), 1.0F + 0x1p-7F);
    }
  }
}

}  // namespace
}  // namespace halfpipe::model
