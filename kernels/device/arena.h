// SPDX-License-Identifier: Apache-2.0
// A bump allocator over memory that somebody else owns: scratch of one pass, taken and given back
// as a whole.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/align.h"

namespace halfpipe::device {

/// Hands out 64-byte aligned pieces of [base, base + capacity). With a null base it only counts,
/// which is how a plan learns the size that a pass needs: the same code runs against a counting
/// arena first.
class Arena {
 public:
  Arena(std::byte* base_or_null, std::size_t capacity) : base_(base_or_null), capacity_(capacity) {}
  /// Counts only: take() returns null pointers, high_water() the bytes needed.
  static Arena counting() {
    Arena arena(nullptr, SIZE_MAX);
    arena.counting_ = true;
    return arena;
  }

  /// Throws InternalError when the capacity is exceeded: sizes come from the plan, so that would be
  /// a bug.
  [[nodiscard]] std::byte* take_bytes(std::size_t bytes);
  template <typename T>
  [[nodiscard]] T* take(std::int64_t count) {
    return reinterpret_cast<T*>(take_bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }

  [[nodiscard]] std::size_t used() const { return used_; }
  [[nodiscard]] std::size_t high_water() const { return high_water_; }
  /// Gives back everything taken since used() was `mark`.
  void rewind(std::size_t mark) { used_ = mark; }
  [[nodiscard]] bool is_counting() const { return counting_; }

 private:
  std::byte* base_;
  std::size_t capacity_;
  std::size_t used_ = 0;
  std::size_t high_water_ = 0;
  bool counting_ = false;
};

/// Gives back what was taken during its life.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.used()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  std::size_t mark_;
};

}  // namespace halfpipe::device
