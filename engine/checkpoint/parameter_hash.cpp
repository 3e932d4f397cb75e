// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/parameter_hash.h"

#include "engine/checkpoint/digest.h"

#include <vector>

namespace halfpipe::checkpoint {

std::string parameter_digest(std::span<const float> values) {
  Digest digest;
  digest.update(std::as_bytes(values));
  return digest.hex();
}

std::string parameter_hash(const std::map<std::string, std::string>& digests) {
  Digest digest;
  for (const auto& [name, parameter] : digests) {
    digest.update(name);
    digest.update(" ");
    digest.update(parameter);
    digest.update("\n");
  }
  return digest.hex();
}

std::string parameter_hash(const ShardedTensors& tensors, std::span<const std::string> names) {
  std::map<std::string, std::string> digests;
  std::vector<float> values;
  for (const std::string& name : names) {
    values.resize(static_cast<std::size_t>(tensors.entry(name).num_elements()));
    tensors.read_float32(name, values);
    digests.emplace(name, parameter_digest(values));
  }
  return parameter_hash(digests);
}

}  // namespace halfpipe::checkpoint
