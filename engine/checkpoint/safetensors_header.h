// SPDX-License-Identifier: Apache-2.0
// The header of a safetensors file (github.com/huggingface/safetensors): u64 little-endian length,
// then JSON {name: {dtype, shape, data_offsets: [begin, end]}}, then the raw little-endian data.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/core/tensor.h"

namespace halfpipe::checkpoint {

/// A tensor to be written, of float32 or bfloat16.
struct TensorSpec {
  std::string name;
  Shape shape;
  DType dtype = DType::kFloat32;
  bool is_zero = false;  // throughout: nobody holds values of it

  [[nodiscard]] std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(shape.num_elements()) * size_of(dtype);
  }
};

/// A tensor in a file.
struct TensorEntry {
  std::string name;
  std::string dtype;  // as the file spells it: F32, BF16, ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin;  // offset from the start of the data
  std::uint64_t bytes;

  [[nodiscard]] std::int64_t num_elements() const;
};

using Metadata = std::map<std::string, std::string>;

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in the order of their data
  Metadata metadata;                 // `__metadata__`
};

/// Length field and JSON for tensors that lie contiguously in the order given. `__metadata__` holds
/// {"format": "pt"}, without which transformers refuses the file, and `extra`. Padded with spaces
/// so that the data starts at a multiple of 8. Names must differ.
[[nodiscard]] std::string make_header(std::span<const TensorSpec> tensors, const Metadata& extra);

/// Parses the header of a whole file and checks every rule of the format: the tensors cover the
/// data without overlap, hole or trailing bytes, and each one's bytes fit its shape and dtype.
/// Throws FileError that names `file_name`, the tensor and the rule.
[[nodiscard]] SafetensorsHeader parse_header(std::span<const std::byte> file,
                                             const std::string& file_name);

/// Where the data of a file with a valid header starts.
[[nodiscard]] std::uint64_t data_start(std::span<const std::byte> file);

}  // namespace halfpipe::checkpoint
