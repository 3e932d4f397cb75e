// SPDX-License-Identifier: Apache-2.0
// The ranks that share each layer of a stage, as layers see them.
#pragma once

#include <cstddef>

#include "kernels/device/stream.h"

namespace halfpipe::model {

/// Every rank calls the same functions in the same order. Ordered by the stream; the host may be
/// blocked until the others have called, too.
class TensorGroup {
 public:
  virtual ~TensorGroup() = default;
  TensorGroup() = default;
  TensorGroup(const TensorGroup&) = delete;
  TensorGroup& operator=(const TensorGroup&) = delete;

  /// whole[r] becomes the part of rank r, of part_bytes. `part` may lie at its place there.
  virtual void all_gather(std::byte* whole,
                          const std::byte* part,
                          std::size_t part_bytes,
                          device::Stream& stream) = 0;
  /// received[r] becomes what rank r has for this one: sent[rank] of rank r. received[rank] stays.
  virtual void exchange(std::byte* received,
                        const std::byte* sent,
                        std::size_t part_bytes,
                        device::Stream& stream) = 0;
};

}  // namespace halfpipe::model
