// SPDX-License-Identifier: Apache-2.0
// Reading safetensors files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "engine/checkpoint/safetensors_header.h"
#include "engine/files/mapped_file.h"
#include "kernels/core/tensor_slice.h"

namespace halfpipe::checkpoint {

/// Elements of a slice of a tensor, from its element `first` on.
struct SlicePart {
  TensorSlice slice;
  std::int64_t first = 0;
};

/// A file open for reading, validated as a whole when opened (FileError). Reading is thread-safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::filesystem::path path);

  /// Overwrites `out` with an entry of tensors(), converted to float32: F32, F64, F16, BF16 and I64
  /// can be read; FileError for another dtype. `out` has the tensor's number of elements.
  void read_float32(const TensorEntry& entry, std::span<float> out) const;
  /// The same for a part of it, as long as `out`; padding is zero. Touches no other byte of the
  /// data. The slice may be one of the leading elements alone: then it is of a smaller whole.
  void read_float32(const TensorEntry& entry, const SlicePart& part, std::span<float> out) const;

  /// In the order of their data.
  [[nodiscard]] const std::vector<TensorEntry>& tensors() const noexcept { return header_.tensors; }
  [[nodiscard]] const TensorEntry* find_or_null(std::string_view name) const;
  [[nodiscard]] const Metadata& metadata() const noexcept { return header_.metadata; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  files::MappedFile file_;
  SafetensorsHeader header_;
};

}  // namespace halfpipe::checkpoint
