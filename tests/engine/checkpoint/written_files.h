// SPDX-License-Identifier: Apache-2.0
// Safetensors files with values of a test's own, written by one rank that holds everything.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint/model_directory.h"
#include "engine/checkpoint/sliced_file.h"

namespace halfpipe::checkpoint {

struct NamedTensor {
  std::string name;
  Shape shape;
  const void* values_or_null;  // null: zeros
  DType dtype = DType::kFloat32;
};

inline std::vector<TensorSpec> specs_of(std::span<const NamedTensor> tensors) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& each : tensors) {
    specs.push_back({each.name, each.shape, each.dtype, each.values_or_null == nullptr});
  }
  return specs;
}

inline void write_safetensors(const std::filesystem::path& path,
                              std::span<const NamedTensor> tensors,
                              const Metadata& extra_metadata = {}) {
  SlicedFile file(path, specs_of(tensors), extra_metadata);
  file.create();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].values_or_null == nullptr) continue;
    const std::int64_t count = tensors[i].shape.num_elements();
    file.write(i, TensorSlice::whole(count), 0, count, tensors[i].values_or_null);
  }
  file.close();
  file.finish(file.written());
}

inline void write_model_shard(const std::filesystem::path& directory,
                              int shard_index,
                              int num_shards,
                              std::span<const NamedTensor> tensors) {
  write_safetensors(model_shard(directory, shard_index, num_shards), tensors);
}

inline void write_optimizer_shard(const std::filesystem::path& directory,
                                  int shard_index,
                                  int num_shards,
                                  std::span<const NamedTensor> tensors) {
  write_safetensors(optimizer_shard(directory, shard_index, num_shards), tensors);
}

}  // namespace halfpipe::checkpoint
