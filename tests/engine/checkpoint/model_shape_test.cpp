// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/model_shape.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <limits>

#include "engine/checkpoint/model_directory.h"
#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/checkpoint/written_files.h"

namespace halfpipe::checkpoint {
namespace {

model::TransformerConfig fitting_config() {
  model::TransformerConfig config;
  config.num_layers = 2;
  config.num_heads = 1;
  config.hidden_size = 4;
  config.seq_len = 8;
  config.vocab_size = 5;
  config.tie_embeddings = false;
  return config;
}

constexpr std::array<float, 4> kBias = {0.0F, 0.0F, 0.5F, 0.0F};
constexpr std::array<float, 4> kNotFinite = {0.0F, std::numeric_limits<float>::quiet_NaN()};

/// Tensors that fit fitting_config(), in a folder of their own.
class ModelShape : public testing::Test {
 protected:
  ModelShape() {
    const std::vector<NamedTensor> tensors{{"transformer.wte.weight", {5, 4}, nullptr},
                                           {"transformer.wpe.weight", {8, 4}, nullptr},
                                           {"transformer.h.0.ln_1.weight", {4}, nullptr},
                                           {"transformer.h.1.ln_1.bias", {4}, kBias.data()},
                                           {"transformer.ln_f.weight", {4}, kNotFinite.data()},
                                           {"lm_head.weight", {5, 4}, nullptr}};
    write_model_shard(scratch_.path(), 0, 1, tensors);
  }

  ScratchDirectory scratch_;
};

TEST_F(ModelShape, ThatFitsIsRead) {
  write_model_index(scratch_.path(), fitting_config(), 1);
  EXPECT_EQ(ModelReader(scratch_.path()).config, fitting_config());
}

TEST_F(ModelShape, WeightsThatAreNotFiniteAreNamed) {
  write_model_index(scratch_.path(), fitting_config(), 1);
  const ModelReader reader(scratch_.path());
  std::vector<float> out(4);
  EXPECT_NO_THROW(reader.tensors.read_weights("transformer.h.1.ln_1.bias", {4}, out));
  const std::string message = message_of<FileError>(
      [&] { reader.tensors.read_weights("transformer.ln_f.weight", {4}, out); });
  EXPECT_TRUE(contains(message, "'transformer.ln_f.weight' has the value nan")) << message;
}

struct MisfitCase {
  std::string name;
  std::function<void(model::TransformerConfig&)> change;
  std::vector<std::string> parts;  // of the message
};

class Misfit : public ModelShape, public testing::WithParamInterface<MisfitCase> {};

TEST_P(Misfit, NamesTheFileTheKeyAndATensor) {
  model::TransformerConfig config = fitting_config();
  GetParam().change(config);
  write_model_index(scratch_.path(), config, 1);
  const std::string message =
      message_of<FileError>([&] { const ModelReader reader(scratch_.path()); });
  EXPECT_TRUE(contains(message, "config.json: ")) << message;
  for (const std::string& part : GetParam().parts)
    EXPECT_TRUE(contains(message, part)) << part << " is not in: " << message;
}

INSTANTIATE_TEST_SUITE_P(
    All,
    Misfit,
    testing::Values(MisfitCase{"FewerBlocks",
                               [](auto& config) { config.num_layers = 1; },
                               {"n_layer (1)", "transformer.h.1.ln_1.bias"}},
                    MisfitCase{"MoreBlocks",
                               [](auto& config) { config.num_layers = 100'000'000; },
                               {"n_layer (100000000)", "transformer.h.1.ln_1.bias"}},
                    MisfitCase{"Width",
                               [](auto& config) { config.hidden_size = 8; },
                               {"n_embd (8)", "transformer.wte.weight", "[5, 4]"}},
                    MisfitCase{"WidthBeyondInt",
                               [](auto& config) { config.hidden_size = 2'000'000'000; },
                               {"n_embd (2000000000)", "at most 536870911"}},
                    MisfitCase{"Positions",
                               [](auto& config) { config.seq_len = 2'000'000'000; },
                               {"n_positions (2000000000)", "transformer.wpe.weight", "[8, 4]"}},
                    MisfitCase{"Vocabulary",
                               [](auto& config) { config.vocab_size = 6; },
                               {"vocab_size (6)", "transformer.wte.weight", "[5, 4]"}},
                    MisfitCase{"Biases",
                               [](auto& config) { config.bias = false; },
                               {"bias (false)", "transformer.h.1.ln_1.bias"}}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace halfpipe::checkpoint
