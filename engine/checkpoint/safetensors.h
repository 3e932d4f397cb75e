// SPDX-License-Identifier: Apache-2.0
// Reading and writing whole safetensors files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/checkpoint/safetensors_header.h"
#include "engine/files/mapped_file.h"

namespace halfpipe::checkpoint {

/// Brings the values of a tensor (which are not null) into host memory, where they stay until the
/// next call.
using FetchValues = std::function<std::span<const std::byte>(const NamedTensor&)>;
/// For values that are in host memory.
[[nodiscard]] std::span<const std::byte> host_values(const NamedTensor& tensor);

/// Writes the tensors in the order given, fetched one at a time, and flushes the file. On failure
/// (RuntimeFailure) no file of that name is left, or the one that was there before.
void write_safetensors(const std::filesystem::path& path,
                       std::span<const NamedTensor> tensors,
                       const Metadata& extra_metadata = {},
                       const FetchValues& fetch = host_values);

/// A file open for reading, validated as a whole when opened (FileError). Reading is thread-safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::filesystem::path path);

  /// Overwrites `out` with an entry of tensors(), converted to float32: F32, F64, F16, BF16 and I64
  /// can be read; FileError for another dtype. `out` has the tensor's number of elements.
  void read_float32(const TensorEntry& entry, std::span<float> out) const;

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
