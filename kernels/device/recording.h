// SPDX-License-Identifier: Apache-2.0
// Work of a stream that was recorded instead of being run, to be enqueued again and again, each
// time in one call.
#pragma once

#include "kernels/device/stream.h"

namespace halfpipe::device {

class Recording {
 public:
  virtual ~Recording() = default;
  Recording() = default;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /// The work, with the pointers and numbers that it was recorded with, on a stream of its backend.
  virtual void enqueue(Stream& stream) = 0;
};

}  // namespace halfpipe::device
