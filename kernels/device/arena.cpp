// SPDX-License-Identifier: Apache-2.0
#include "kernels/device/arena.h"

#include <algorithm>
#include <string>

#include "kernels/core/error.h"

namespace halfpipe::device {

std::byte* Arena::take_bytes(std::size_t bytes) {
  const std::size_t offset = used_;
  const std::size_t padded = padded_bytes(bytes);
  HALFPIPE_CHECK(padded <= capacity_ - offset,
                 "an arena of " + std::to_string(capacity_) + " bytes has no room for " +
                     std::to_string(padded) + " after " + std::to_string(offset));
  used_ = offset + padded;
  high_water_ = std::max(high_water_, used_);
  return base_ == nullptr ? nullptr : base_ + offset;
}

}  // namespace halfpipe::device
