// SPDX-License-Identifier: Apache-2.0
// Queues of device work, and marks in them.
#pragma once

#include <memory>

namespace halfpipe::device {

/// A mark in a stream. Recorded by Stream::record; another stream (or the host) waits for the work
/// before it.
class Event {
 public:
  virtual ~Event() = default;
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Blocks the host until the work before the mark is done. An event never recorded counts as
  /// done.
  virtual void synchronize() = 0;
  /// Whether that work is done; does not wait.
  [[nodiscard]] virtual bool reached() const = 0;
  /// Seconds that the device took from `earlier` to this mark. Both of this backend, recorded and
  /// reached.
  [[nodiscard]] virtual double seconds_since(const Event& earlier) const = 0;
};

/// A queue: work enqueued on one stream runs in order. The CPU's stream runs work at once, on the
/// caller's thread.
class Stream {
 public:
  virtual ~Stream() = default;
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Marks the end of the work enqueued so far.
  virtual void record(Event& event) = 0;
  /// Work enqueued later on this stream starts after the mark; the host does not wait.
  virtual void wait_for(Event& event) = 0;
  /// Blocks the host until everything enqueued is done; throws what the work threw.
  virtual void synchronize() = 0;
};

}  // namespace halfpipe::device
