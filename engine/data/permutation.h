// SPDX-License-Identifier: Apache-2.0
// A random order of 0 .. size-1 that is computed, not stored: a keyed Feistel network on the
// smallest fitting power of four, with cycle walking (Black & Rogaway 2002, "Ciphers with arbitrary
// finite domains").
#pragma once

#include <cstdint>

namespace halfpipe::data {

/// A bijection of 0 .. size-1, chosen by `key`. Calling it costs a few Philox blocks and no memory.
class Permutation {
 public:
  /// 1 <= size.
  Permutation(std::int64_t size, std::uint64_t key);

  /// Where `index` in 0 .. size-1 goes.
  [[nodiscard]] std::int64_t operator()(std::int64_t index) const;

 private:
  [[nodiscard]] std::uint64_t encrypt(std::uint64_t block) const;

  std::uint64_t size_;
  std::uint64_t key_;
  unsigned half_bits_;  // the network permutes 0 .. 4^half_bits - 1
};

}  // namespace halfpipe::data
