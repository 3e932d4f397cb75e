// SPDX-License-Identifier: Apache-2.0
// One token file on disk, memory-mapped: llm.c's shards (a header of 256 int32: magic, version,
// token count; then 16-bit tokens, or 32-bit ones in version 7) and nanoGPT's (raw 16-bit tokens,
// no header). Little-endian.
#pragma once

#include "engine/files/mapped_file.h"

#include <cstdint>
#include <span>
#include <string>

namespace halfpipe::data {

inline constexpr int kShardHeaderWords = 256;            // int32 each
inline constexpr std::int32_t kShardMagic16 = 20240520;  // 16-bit tokens, version 1
inline constexpr std::int32_t kShardVersion16 = 1;
inline constexpr std::int32_t kShardMagic32 = 20240801;  // 32-bit tokens, version 7
inline constexpr std::int32_t kShardVersion32 = 7;
inline constexpr std::int64_t kMaxShardTokens = 2147483647;  // the header counts in an int32

class TokenShard {
 public:
  /// Maps and checks a shard. A file without llm.c's header is nanoGPT's when it is named .bin.
  /// Throws FileError that names the file and the rule it breaks: empty, unknown magic or version,
  /// a size other than the header tells, an odd size of a raw file.
  explicit TokenShard(const std::string& path);

  [[nodiscard]] const std::string& path() const noexcept { return file_.path(); }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }  // tokens, at least one
  [[nodiscard]] int bytes_per_token() const noexcept { return bytes_per_token_; }  // 2 or 4

  /// Copies tokens first .. first + out.size() - 1, which must exist; of 32-bit ids the low 32 bits
  /// as int32.
  void read(std::int64_t first, std::span<std::int32_t> out) const;

 private:
  files::MappedFile file_;
  std::int64_t offset_ = 0;  // bytes before the first token
  std::int64_t size_ = 0;
  int bytes_per_token_ = 2;
};

}  // namespace halfpipe::data
