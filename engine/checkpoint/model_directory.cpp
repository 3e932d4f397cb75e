// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/model_directory.h"

#include "engine/checkpoint/hugging_face.h"
#include "engine/checkpoint/model_shape.h"
#include "engine/files/mapped_file.h"
#include "engine/files/output_file.h"

#include <fmt/format.h>

namespace halfpipe::checkpoint {
namespace {

constexpr std::string_view kModelStem = "model";
constexpr std::string_view kOptimizerStem = "optimizer";
constexpr const char* kConfigName = "config.json";

/// The bias of a linear layer or norm, or empty for a weight that has none (embeddings, head).
std::string bias_of(std::string_view weight) {
  constexpr std::string_view kSuffix = ".weight";
  const bool is_layer = weight.find(".h.") != std::string_view::npos ||
                        weight.find(".ln_f.") != std::string_view::npos;
  if (!is_layer || !weight.ends_with(kSuffix)) return {};
  weight.remove_suffix(kSuffix.size());
  return fmt::format("{}.bias", weight);
}

model::TransformerConfig read_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kConfigName;
  return parse_hugging_face_config(files::read_text_file(path), path.string());
}

}  // namespace

std::filesystem::path model_shard(const std::filesystem::path& directory,
                                  int shard_index,
                                  int num_shards) {
  return directory / shard_file_name(kModelStem, shard_index, num_shards);
}

std::filesystem::path optimizer_shard(const std::filesystem::path& directory,
                                      int shard_index,
                                      int num_shards) {
  return directory / shard_file_name(kOptimizerStem, shard_index, num_shards);
}

void write_model_index(const std::filesystem::path& directory,
                       const model::TransformerConfig& config,
                       int num_shards) {
  files::write_file(directory / kConfigName, make_hugging_face_config(config));
  if (num_shards == 1) return;
  WeightMap weight_map;
  std::uint64_t total_bytes = 0;
  for (int shard = 0; shard < num_shards; ++shard) {
    const std::string name = shard_file_name(kModelStem, shard, num_shards);
    const SafetensorsFile file(directory / name);
    for (const TensorEntry& entry : file.tensors()) {
      weight_map.emplace(entry.name, name);
      total_bytes += entry.bytes;
    }
  }
  files::write_file(directory / "model.safetensors.index.json",
                    make_index(weight_map, total_bytes));
}

std::vector<TensorSpec> with_zero_biases(std::span<const TensorSpec> tensors) {
  std::vector<TensorSpec> all;
  for (const TensorSpec& tensor : tensors) {
    all.push_back(tensor);
    const std::string bias = bias_of(tensor.name);
    // Linear weights are [in, out] and norms [C]: the bias has the last extent.
    if (bias.empty()) continue;
    all.push_back({bias, {tensor.shape[tensor.shape.rank() - 1]}, tensor.dtype, /*is_zero=*/true});
  }
  return all;
}

std::string exp_avg_name(std::string_view parameter) {
  return fmt::format("exp_avg.{}", parameter);
}
std::string exp_avg_sq_name(std::string_view parameter) {
  return fmt::format("exp_avg_sq.{}", parameter);
}

ModelReader::ModelReader(const std::filesystem::path& directory)
    : config(read_config(directory)),
      tensors(ShardedTensors::open(directory, kModelStem, TensorNaming::kGpt2)) {
  check_model_shape(config, tensors, (directory / kConfigName).string());
}

ShardedTensors open_optimizer(const std::filesystem::path& directory) {
  return ShardedTensors::open(directory, kOptimizerStem, TensorNaming::kAsWritten);
}

}  // namespace halfpipe::checkpoint
