// SPDX-License-Identifier: Apache-2.0
// A safetensors file of whole tensors that several ranks write together, each the parts that it
// holds. Which ranks, and how they cut the tensors, cannot be seen in the file.
//
// For any number of ranks on a shared file system, each with a SlicedFile of the same tensors:
//   one of them: create()     then a barrier
//   ranks:       write(...) what they hold, close(); then they add up their written()
//   the creator: finish(the sum)
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "engine/checkpoint/safetensors_header.h"
#include "engine/files/shared_file.h"
#include "kernels/core/tensor_slice.h"

namespace halfpipe::checkpoint {

/// What was written of a file. Sums of the parts of a file are equal to those of the whole if the
/// parts tile it; a part that is missing or there twice changes `ends` (but for one case in 2^64).
struct WrittenParts {
  std::uint64_t bytes = 0;
  std::uint64_t ends = 0;  // of hashes of where a part ends, less those of where it begins

  void add(std::uint64_t begin, std::uint64_t end);
  WrittenParts& operator+=(const WrittenParts& other);
  friend bool operator==(const WrittenParts&, const WrittenParts&) = default;
};

/// Failures are RuntimeFailures that name the file. Destroyed without finish(), a file that was
/// created here is removed.
class SlicedFile {
 public:
  /// Touches no file. The tensors lie in the file in the order given.
  SlicedFile(std::filesystem::path path,
             std::vector<TensorSpec> tensors,
             const Metadata& extra_metadata = {});

  /// With everything that is no rank's: the header, and tensors that are zero.
  void create();
  /// Elements first .. last - 1 of the slice of a tensor that this rank holds; `values` are theirs,
  /// in host memory and of the tensor's dtype. Padding is left out.
  void write(std::size_t tensor,
             const TensorSlice& slice,
             std::int64_t first,
             std::int64_t last,
             const void* values);
  /// Flushes what was written to the disk.
  void close();
  /// The file gets its name. `all`: what all ranks have written, which must be the file.
  void finish(const WrittenParts& all);

  /// By this rank.
  [[nodiscard]] const WrittenParts& written() const { return written_; }
  /// The place of a tensor in the list; it must be there.
  [[nodiscard]] std::size_t index_of(std::string_view name) const;
  [[nodiscard]] const std::vector<TensorSpec>& tensors() const { return tensors_; }

 private:
  std::vector<TensorSpec> tensors_;
  std::string header_;
  std::vector<std::uint64_t> begins_;  // [tensors + 1], in the file: of each, and its end
  files::SharedFile file_;
  std::vector<files::FileRun> runs_;  // of a write
  WrittenParts written_;
};

}  // namespace halfpipe::checkpoint
