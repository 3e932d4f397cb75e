// SPDX-License-Identifier: Apache-2.0
// What one (stage, micro-batch) keeps between its passes: where each tensor lies and until when it
// lives.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/core/dtype.h"

namespace halfpipe::model {

/// The release points of a saved tensor. Tensors of one lifetime lie side by side in the activation
/// arena.
enum class Lifetime : std::uint8_t {
  kForwardToBackwardInput,
  kForwardToBackwardWeight,
  kBackwardInputToBackwardWeight,
};
inline constexpr std::size_t kNumLifetimes = 3;

/// Sizes and places of the saved tensors of one stage, built once by the layers that need them.
class SavedLayout {
 public:
  /// Declares a tensor of `count` elements; returns its id.
  int declare(Lifetime lifetime, std::int64_t count, DType dtype);

  [[nodiscard]] std::size_t bytes(Lifetime lifetime) const {
    return totals_[static_cast<std::size_t>(lifetime)];
  }

  struct Entry {
    Lifetime lifetime;
    std::size_t offset;  // within the tensors of its lifetime
    std::size_t bytes;   // padded
  };
  [[nodiscard]] const Entry& entry(int id) const { return entries_[static_cast<std::size_t>(id)]; }

 private:
  std::vector<Entry> entries_;
  std::array<std::size_t, kNumLifetimes> totals_{};
};

/// Counts the bytes of saved tensors that are alive on a rank. It knows nothing of plans or arenas:
/// layers report what they save and release, so that its peak is an independent measurement of what
/// the plan promises.
class LiveBytes {
 public:
  void add(std::size_t bytes) {
    current_ += bytes;
    if (current_ > peak_) peak_ = current_;
  }
  void subtract(std::size_t bytes);
  [[nodiscard]] std::size_t current() const { return current_; }
  [[nodiscard]] std::size_t peak() const { return peak_; }
  void reset_peak() { peak_ = current_; }
  /// As if none had been saved: their work begins again.
  void forget_all() { current_ = peak_ = 0; }

  /// What a piece of work does to the count, so that the same work counts again without being done.
  struct Change {
    std::size_t rise = 0;    // of the peak above where the work began
    std::ptrdiff_t net = 0;  // from where it began to where it ended
  };
  [[nodiscard]] Change change_by(const std::function<void()>& work);
  void apply(const Change& change);

 private:
  std::size_t current_ = 0;
  std::size_t peak_ = 0;
};

/// The saved tensors of one (stage, micro-batch): the layout laid over three places in the arena.
class SavedTensors {
 public:
  SavedTensors(const SavedLayout& layout,
               const std::array<std::byte*, kNumLifetimes>& bases,
               LiveBytes& live)
      : layout_(&layout), bases_(bases), live_(&live) {}

  /// Starts the life of a tensor; its contents are undefined.
  [[nodiscard]] std::byte* save(int id);
  /// A tensor that is alive; null when the base of its lifetime is null (only sizes are wanted).
  [[nodiscard]] std::byte* get(int id) const {
    const SavedLayout::Entry& entry = layout_->entry(id);
    std::byte* base = bases_[static_cast<std::size_t>(entry.lifetime)];
    return base == nullptr ? nullptr : base + entry.offset;
  }
  /// The same of a float32 tensor: statistics.
  [[nodiscard]] float* save_floats(int id) { return reinterpret_cast<float*>(save(id)); }
  [[nodiscard]] float* get_floats(int id) const { return reinterpret_cast<float*>(get(id)); }
  /// Ends its life.
  void release(int id) { live_->subtract(layout_->entry(id).bytes); }

 private:
  const SavedLayout* layout_;
  std::array<std::byte*, kNumLifetimes> bases_;
  LiveBytes* live_;
};

}  // namespace halfpipe::model
