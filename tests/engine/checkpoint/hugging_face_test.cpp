// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/hugging_face.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

model::TransformerConfig small_model() {
  model::TransformerConfig config;
  config.num_layers = 3;
  config.num_heads = 2;
  config.hidden_size = 10;
  config.seq_len = 17;
  config.vocab_size = 65;
  return config;
}

TEST(HuggingFaceConfig, RoundTrip) {
  for (const bool bias : {true, false}) {
    for (const bool tie_embeddings : {true, false}) {
      model::TransformerConfig config = small_model();
      config.bias = bias;
      config.tie_embeddings = tie_embeddings;
      EXPECT_EQ(parse_hugging_face_config(make_hugging_face_config(config), "config.json"), config);
    }
  }
}

TEST(HuggingFaceConfig, SaysWhatTransformersNeeds) {
  const std::string text = make_hugging_face_config(small_model());
  for (const char* line :
       {R"("model_type": "gpt2")", R"("GPT2LMHeadModel")", R"("activation_function": "gelu_new")",
        R"("n_inner": null)", R"("bos_token_id": null)", R"("eos_token_id": null)",
        R"("layer_norm_epsilon": 1e-05)", R"("n_ctx": 17)", R"("n_positions": 17)",
        R"("tie_word_embeddings": true)", R"("resid_pdrop": 0.0)"}) {
    EXPECT_TRUE(contains(text, line)) << line << " is not in\n" << text;
  }
}

TEST(HuggingFaceConfig, ReadsThePublishedGpt2) {
  // As on huggingface.co/openai-community/gpt2 in what matters here; tie_word_embeddings and
  // n_inner are absent there.
  const std::string text =
      R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
      "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
      "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
      "n_positions": 1024, "summary_type": "cls_index", "vocab_size": 50257})";
  model::TransformerConfig wanted;
  wanted.vocab_size = 50257;
  EXPECT_EQ(parse_hugging_face_config(text, "config.json"), wanted);
}

struct RefusedCase {
  std::string name;
  std::string entries;  // beside or instead of the sizes of a small GPT-2
  std::string message;
};

class RefusedConfig : public testing::TestWithParam<RefusedCase> {};

TEST_P(RefusedConfig, NamesFileKeyAndRule) {
  // Of keys that come twice the last one counts.
  const std::string text =
      R"({"model_type":"gpt2","n_layer":1,"n_head":2,"n_embd":8,"n_positions":4,"vocab_size":9,)" +
      GetParam().entries + "}";
  const std::string message =
      message_of<FileError>([&] { (void)parse_hugging_face_config(text, "dir/config.json"); });
  EXPECT_TRUE(contains(message, "dir/config.json") && contains(message, GetParam().message))
      << message;
}

INSTANTIATE_TEST_SUITE_P(
    All,
    RefusedConfig,
    testing::Values(
        RefusedCase{"NotJson", "", "not JSON"},
        RefusedCase{"Nested", R"("n_inner":)" + deeply_nested(), "nested too deeply"},
        RefusedCase{"Family", R"("model_type":"llama")", R"(model_type ("llama"))"},
        RefusedCase{"Architecture", R"("architectures":["GPT2ForTokenClassification"])",
                    "architectures"},
        RefusedCase{"NoFamily", R"("model_type":null)", "model_type"},
        RefusedCase{"MissingSize", R"("n_layer":null)", "'n_layer' is missing"},
        RefusedCase{"ZeroSize", R"("vocab_size":0)", "vocab_size (0)"},
        RefusedCase{"TextSize", R"("n_embd":"8")", "n_embd (\"8\")"},
        RefusedCase{"HugeSize", R"("n_embd":99999999999)", "n_embd (99999999999)"},
        RefusedCase{"Heads", R"("n_head":3)", "multiple of n_head (3)"},
        RefusedCase{"Inner", R"("n_inner":16)", "n_inner (16) must be null or 4 n_embd (32)"},
        RefusedCase{"Activation", R"("activation_function":"relu")",
                    "activation_function (\"relu\")"},
        RefusedCase{"Epsilon", R"("layer_norm_epsilon":1e-6)", "layer_norm_epsilon"},
        RefusedCase{"Scale", R"("scale_attn_weights":false)", "scale_attn_weights (false)"},
        RefusedCase{"LayerScale", R"("scale_attn_by_inverse_layer_idx":true)",
                    "scale_attn_by_inverse_layer_idx"},
        RefusedCase{"Upcast", R"("reorder_and_upcast_attn":true)", "reorder_and_upcast_attn"},
        RefusedCase{"CrossAttention", R"("add_cross_attention":true)", "add_cross_attention"},
        RefusedCase{"FlagIsText", R"("tie_word_embeddings":"yes")",
                    "tie_word_embeddings (\"yes\")"}),
    [](const auto& tested) { return tested.param.name; });

TEST(CanonicalName, AddsThePrefixAndDropsMaskBuffers) {
  EXPECT_EQ(canonical_name("wte.weight"), "transformer.wte.weight");
  EXPECT_EQ(canonical_name("transformer.h.0.ln_1.bias"), "transformer.h.0.ln_1.bias");
  EXPECT_EQ(canonical_name("h.11.attn.c_attn.bias"), "transformer.h.11.attn.c_attn.bias");
  EXPECT_EQ(canonical_name("lm_head.weight"), "lm_head.weight");
  EXPECT_EQ(canonical_name("h.0.attn.bias"), "");
  EXPECT_EQ(canonical_name("transformer.h.3.attn.masked_bias"), "");
}

TEST(ShardFileName, CountsFromOne) {
  EXPECT_EQ(shard_file_name("model", 0, 1), "model.safetensors");
  EXPECT_EQ(shard_file_name("model", 0, 4), "model-00001-of-00004.safetensors");
  EXPECT_EQ(shard_file_name("optimizer", 15, 16), "optimizer-00016-of-00016.safetensors");
}

TEST(Index, RoundTrip) {
  const WeightMap weight_map{{"a", "model-00001-of-00002.safetensors"},
                             {"b", "model-00002-of-00002.safetensors"}};
  const std::string text = make_index(weight_map, 1234);
  EXPECT_TRUE(contains(text, R"("total_size": 1234)"));
  EXPECT_EQ(parse_index(text, "index"), weight_map);
}

TEST(Index, RefusesWhatIsNone) {
  for (const std::string& text :
       std::vector<std::string>{"{", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
                                R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":""}})",
                                R"({"weight_map":{"a":"../secret"}})",
                                R"({"weight_map":{"a":)" + deeply_nested() + "}}"}) {
    const std::string message =
        message_of<FileError>([&] { (void)parse_index(text, "dir/index"); });
    EXPECT_TRUE(contains(message, "dir/index")) << text.substr(0, 80) << ": " << message;
  }
}

}  // namespace
}  // namespace halfpipe::checkpoint
