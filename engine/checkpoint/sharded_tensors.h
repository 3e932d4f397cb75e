// SPDX-License-Identifier: Apache-2.0
// Tensors by name, wherever in a directory's safetensors files they lie: a reader need not know how
// many stages wrote them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/safetensors.h"
#include "kernels/core/tensor.h"

namespace halfpipe::checkpoint {

/// How the names in the files relate to the names that readers use.
enum class TensorNaming : std::uint8_t {
  kGpt2,       // canonical_name: `transformer.` added where absent, mask buffers left out
  kAsWritten,  // the same
};

class ShardedTensors {
 public:
  /// Opens `model.safetensors`, or else what `model.safetensors.index.json` names, or else the
  /// files `model-*-of-*.safetensors`, all of them; the same for another stem. Throws FileError
  /// when nothing is there, a shard is missing or invalid, the index is wrong, or two tensors come
  /// to one name.
  static ShardedTensors open(const std::filesystem::path& directory,
                             std::string_view stem,
                             TensorNaming naming);

  /// Overwrites `out` with a tensor, converted to float32. FileError when it is missing or its
  /// shape is not `shape`, naming both shapes. Thread-safe.
  void read_float32(std::string_view name, const Shape& shape, std::span<float> out) const;
  /// The same whatever the shape: `out` has as many elements as entry(name).
  void read_float32(std::string_view name, std::span<float> out) const;

  /// The first for a part of the tensor, as long as `out`; padding is zero. Reads no other part.
  void read_float32(std::string_view name,
                    const Shape& shape,
                    const SlicePart& part,
                    std::span<float> out) const;

  /// The same for weights that a result is computed from: FileError too when a value is not finite.
  void read_weights(std::string_view name, const Shape& shape, std::span<float> out) const;
  void read_weights(std::string_view name,
                    const Shape& shape,
                    const SlicePart& part,
                    std::span<float> out) const;

  [[nodiscard]] bool contains(std::string_view name) const {
    return places_.find(name) != places_.end();
  }
  /// FileError when it is missing.
  [[nodiscard]] const TensorEntry& entry(std::string_view name) const { return *place(name).entry; }
  /// Sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] std::uint64_t total_bytes() const;

 private:
  struct Place {
    const SafetensorsFile* file;
    const TensorEntry* entry;
  };

  void add(const std::string& name, Place place);
  [[nodiscard]] const Place& place(std::string_view name) const;
  [[nodiscard]] const Place& place(std::string_view name, const Shape& shape) const;

  std::filesystem::path directory_;
  std::vector<SafetensorsFile> files_;  // never grows after open: places point into it
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace halfpipe::checkpoint
