// SPDX-License-Identifier: Apache-2.0
// The Feistel network of permutation.h.
#include "engine/data/permutation.h"

#include "kernels/core/error.h"
#include "kernels/core/philox.h"

#include <bit>

namespace halfpipe::data {

namespace {

// Four rounds of a strong round function make a pseudo-random permutation (Luby & Rackoff 1988);
// two more, because the halves are only a few bits wide when there are few windows.
constexpr std::uint64_t kNumRounds = 6;

}  // namespace

Permutation::Permutation(std::int64_t size, std::uint64_t key)
    : size_(static_cast<std::uint64_t>(size)), key_(key) {
  HALFPIPE_CHECK(size >= 1, "a permutation has at least one element");
  half_bits_ = (static_cast<unsigned>(std::bit_width(size_ - 1)) + 1) / 2;
}

std::int64_t Permutation::operator()(std::int64_t index) const {
  HALFPIPE_CHECK(index >= 0 && static_cast<std::uint64_t>(index) < size_,
                 "index beyond the permutation");
  // Walk along the cycle of the larger permutation until it is back inside: fewer than four steps
  // on average, since the network's range is less than four times `size`.
  auto block = static_cast<std::uint64_t>(index);
  do {
    block = encrypt(block);
  } while (block >= size_);
  return static_cast<std::int64_t>(block);
}

std::uint64_t Permutation::encrypt(std::uint64_t block) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = block >> half_bits_;
  std::uint64_t right = block & mask;
  for (std::uint64_t round = 0; round < kNumRounds; ++round) {
    const std::uint64_t mixed = left ^ (philox(key_, right, round)[0] & mask);
    left = right;
    right = mixed;
  }
  return (left << half_bits_) | right;
}

}  // namespace halfpipe::data
