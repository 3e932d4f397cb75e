// SPDX-License-Identifier: Apache-2.0
#include "engine/model/saved_tensors.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace halfpipe::model {

int SavedLayout::declare(Lifetime lifetime, std::int64_t count, DType dtype) {
  std::size_t& total = totals_[static_cast<std::size_t>(lifetime)];
  const std::size_t bytes = padded_bytes(static_cast<std::size_t>(count) * size_of(dtype));
  entries_.push_back({lifetime, total, bytes});
  total += bytes;
  return static_cast<int>(entries_.size()) - 1;
}

void LiveBytes::subtract(std::size_t bytes) {
  HALFPIPE_CHECK(bytes <= current_, "a saved tensor was released twice");
  current_ -= bytes;
}

LiveBytes::Change LiveBytes::change_by(const std::function<void()>& work) {
  const std::size_t begin = current_;
  const std::size_t peak_before = peak_;
  reset_peak();
  work();
  const Change change{peak_ - begin,
                      static_cast<std::ptrdiff_t>(current_) - static_cast<std::ptrdiff_t>(begin)};
  peak_ = std::max(peak_, peak_before);
  return change;
}

void LiveBytes::apply(const Change& change) {
  peak_ = std::max(peak_, current_ + change.rise);
  const std::ptrdiff_t end = static_cast<std::ptrdiff_t>(current_) + change.net;
  HALFPIPE_CHECK(end >= 0, "a saved tensor was released twice");
  current_ = static_cast<std::size_t>(end);
}

std::byte* SavedTensors::save(int id) {
  live_->add(layout_->entry(id).bytes);
  return get(id);
}

}  // namespace halfpipe::model
