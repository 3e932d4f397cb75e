// SPDX-License-Identifier: Apache-2.0
#include "engine/model/saved_tensors.h"

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

std::byte* SavedTensors::save(int id) {
  live_->add(layout_->entry(id).bytes);
  return get(id);
}

}  // namespace halfpipe::model
