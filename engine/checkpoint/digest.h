// SPDX-License-Identifier: Apache-2.0
// 128-bit XXH3 digests (github.com/Cyan4973/xxHash), as 32 hexadecimal digits in canonical (big
// endian) order: what `xxh128sum` prints. They find damage, not forgery.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace halfpipe::checkpoint {

/// Digests bytes as they come: the parts may be cut anywhere.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  /// Of everything so far; more may follow.
  [[nodiscard]] std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string digest_of(std::string_view text);
/// Throws FileError when the file cannot be read.
[[nodiscard]] std::string digest_of_file(const std::filesystem::path& path);

}  // namespace halfpipe::checkpoint
