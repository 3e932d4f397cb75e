// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/model_directory.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

#include "engine/checkpoint/hugging_face.h"
#include "engine/checkpoint/parameter_hash.h"
#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/checkpoint/written_files.h"

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

/// A model of two blocks in few tensors, each filled with values of its own.
class ModelDirectory : public testing::Test {
 protected:
  ModelDirectory() {
    config_.num_layers = 2;
    config_.num_heads = 1;
    config_.hidden_size = 4;
    config_.seq_len = 8;
    config_.vocab_size = 5;
    add("transformer.wte.weight", {5, 4});
    add("transformer.h.0.attn.c_attn.weight", {4, 12});
    add("transformer.h.1.mlp.c_proj.weight", {16, 4});
    add("transformer.ln_f.weight", {4});
  }

  void add(const std::string& name, const Shape& shape) {
    auto& values = values_[name];
    values.resize(static_cast<std::size_t>(shape.num_elements()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(tensors_.size() * 1000 + i) / 7.0F;
    }
    tensors_.push_back({name, shape, values.data()});
  }

  /// Tensor k goes to shard k * num_shards / 4.
  void write_shards(int num_shards) {
    for (int shard = 0; shard < num_shards; ++shard) {
      std::vector<NamedTensor> model;
      std::vector<NamedTensor> optimizer;
      for (std::size_t k = 0; k < tensors_.size(); ++k) {
        if (static_cast<int>(k) * num_shards / 4 != shard) continue;
        model.push_back(tensors_[k]);
        optimizer.push_back(
            {exp_avg_name(tensors_[k].name), tensors_[k].shape, tensors_[k].values_or_null});
        optimizer.push_back({exp_avg_sq_name(tensors_[k].name), tensors_[k].shape, nullptr});
      }
      write_model_shard(scratch_.path(), shard, num_shards, model);
      write_optimizer_shard(scratch_.path(), shard, num_shards, optimizer);
    }
    write_model_index(scratch_.path(), config_, num_shards);
  }

  void expect_all_there(const ShardedTensors& tensors, const std::string& prefix = "") {
    for (const NamedTensor& tensor : tensors_) {
      std::vector<float> read(values_[tensor.name].size());
      tensors.read_float32(prefix + tensor.name, tensor.shape, read);
      EXPECT_EQ(read, values_[tensor.name]) << tensor.name;
    }
  }

  std::string refusal() {
    return message_of<FileError>([this] { const ModelReader reader(scratch_.path()); });
  }

  ScratchDirectory scratch_;
  model::TransformerConfig config_;
  std::map<std::string, std::vector<float>> values_;
  std::vector<NamedTensor> tensors_;
};

TEST_F(ModelDirectory, ReadsTheSameFromAnyNumberOfShards) {
  std::string first_hash;
  for (const int num_shards : {1, 2, 3, 4, 8}) {  // at 8 every other shard is empty
    for (const auto& item : fs::directory_iterator(scratch_.path())) fs::remove(item);
    write_shards(num_shards);
    const ModelReader reader(scratch_.path());
    EXPECT_EQ(reader.config, config_);
    EXPECT_EQ(reader.tensors.names().size(), tensors_.size());
    EXPECT_EQ(reader.tensors.total_bytes(), 4U * (20 + 48 + 64 + 4));
    expect_all_there(reader.tensors);
    expect_all_there(open_optimizer(scratch_.path()), "exp_avg.");
    std::vector<float> read(20, 1.0F);
    open_optimizer(scratch_.path()).read_float32("exp_avg_sq.transformer.wte.weight", {5, 4}, read);
    EXPECT_EQ(read, std::vector<float>(20, 0.0F));

    const std::string hash = parameter_hash(reader.tensors, reader.tensors.names());
    if (first_hash.empty()) first_hash = hash;
    EXPECT_EQ(hash, first_hash);
  }
}

TEST_F(ModelDirectory, ReadsTheNamesOfOthers) {
  // As GPT2Model and old versions of transformers write them: no prefix, mask buffers, a copy of
  // the tied head.
  std::vector<NamedTensor> foreign = tensors_;
  for (NamedTensor& tensor : foreign)
    tensor.name = tensor.name.substr(std::string("transformer.").size());
  foreign.push_back({"h.0.attn.bias", {1, 1, 8, 8}, nullptr});
  foreign.push_back({"h.0.attn.masked_bias", {}, nullptr});
  foreign.push_back({"lm_head.weight", {5, 4}, foreign[0].values_or_null});
  write_model_index(scratch_.path(), config_, 1);
  write_safetensors(scratch_ / "model.safetensors", foreign);
  const ModelReader reader(scratch_.path());
  expect_all_there(reader.tensors);
  EXPECT_EQ(reader.tensors.names().size(),
            tensors_.size() + 1);  // the head's copy; nobody reads it
  EXPECT_FALSE(reader.tensors.contains("transformer.h.0.attn.bias"));
}

TEST_F(ModelDirectory, ABiaslessModelGetsZeroBiases) {
  const std::vector<TensorSpec> all = with_zero_biases(specs_of(tensors_));
  std::vector<std::string> names;
  for (const TensorSpec& tensor : all) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "transformer.wte.weight", "transformer.h.0.attn.c_attn.weight",
                       "transformer.h.0.attn.c_attn.bias", "transformer.h.1.mlp.c_proj.weight",
                       "transformer.h.1.mlp.c_proj.bias", "transformer.ln_f.weight",
                       "transformer.ln_f.bias"}));
  EXPECT_EQ(all[2].shape, Shape({12}));
  std::vector<NamedTensor> written;
  for (const TensorSpec& tensor : all) {
    const float* values = tensor.is_zero ? nullptr : values_[tensor.name].data();
    written.push_back({tensor.name, tensor.shape, values});
  }
  write_model_shard(scratch_.path(), 0, 1, written);
  write_model_index(scratch_.path(), config_, 1);
  std::vector<float> bias(12, 1.0F);
  ModelReader(scratch_.path()).tensors.read_float32("transformer.h.0.attn.c_attn.bias", {12}, bias);
  EXPECT_EQ(bias, std::vector<float>(12, 0.0F));
}

TEST_F(ModelDirectory, AWrongShapeOrAMissingTensorIsNamed) {
  write_shards(2);
  const ModelReader reader(scratch_.path());
  std::vector<float> out(20);
  const std::string shapes = message_of<FileError>([&] {
    reader.tensors.read_float32("transformer.wte.weight", {4, 5}, out);
  });
  EXPECT_TRUE(contains(shapes, "'transformer.wte.weight' has shape [5, 4], [4, 5] was expected"))
      << shapes;
  const std::string missing = message_of<FileError>([&] {
    reader.tensors.read_float32("transformer.wpe.weight", {4, 5}, out);
  });
  EXPECT_TRUE(contains(missing, "'transformer.wpe.weight' is missing")) << missing;
}

TEST_F(ModelDirectory, AMissingShardIsNamed) {
  write_shards(4);
  fs::remove(scratch_ / "model-00003-of-00004.safetensors");
  EXPECT_TRUE(contains(refusal(), "model-00003-of-00004.safetensors"));
  fs::remove(scratch_ / "model.safetensors.index.json");
  EXPECT_TRUE(contains(refusal(), "model-00003-of-00004.safetensors"));
  fs::remove(scratch_ / "optimizer-00001-of-00004.safetensors");
  const std::string message = message_of<FileError>([&] { (void)open_optimizer(scratch_.path()); });
  EXPECT_TRUE(contains(message, "optimizer-00001-of-00004.safetensors")) << message;
}

TEST_F(ModelDirectory, AnIndexThatLiesIsRefused) {
  write_shards(2);
  write_bytes(scratch_ / "model.safetensors.index.json",
              make_index({{"transformer.ghost", "model-00001-of-00002.safetensors"}}, 4));
  EXPECT_TRUE(
      contains(refusal(), "'transformer.ghost' is not in model-00001-of-00002.safetensors"));
}

TEST_F(ModelDirectory, ShardsOfTwoSetsAreRefused) {
  write_shards(2);
  write_optimizer_shard(scratch_.path(), 0, 3, {});
  const std::string message = message_of<FileError>([&] { (void)open_optimizer(scratch_.path()); });
  EXPECT_TRUE(contains(message, "of 2, of 3")) << message;
}

TEST_F(ModelDirectory, ANameInBothSpellingsIsRefused) {
  write_model_index(scratch_.path(), config_, 1);
  const std::vector<NamedTensor> twice{{"wte.weight", {1}, nullptr},
                                       {"transformer.wte.weight", {1}, nullptr}};
  write_safetensors(scratch_ / "model.safetensors", twice);
  EXPECT_TRUE(contains(refusal(), "twice"));
}

TEST_F(ModelDirectory, ADirectoryWithoutAModelIsRefused) {
  EXPECT_TRUE(contains(refusal(), "config.json"));
  write_model_index(scratch_.path(), config_, 1);
  EXPECT_TRUE(contains(refusal(), "holds no model.safetensors"));
  write_bytes(scratch_ / "pytorch_model.bin", "");
  EXPECT_TRUE(contains(refusal(), "pytorch_model.bin cannot be read"));
}

}  // namespace
}  // namespace halfpipe::checkpoint
