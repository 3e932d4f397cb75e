// SPDX-License-Identifier: Apache-2.0
// A device behind one small interface: its memory, its queues and its operations. Chosen once, when
// a job starts; nothing above kernels/ asks which backend it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/device/recording.h"
#include "kernels/device/stream.h"
#include "kernels/device/tuner.h"

namespace halfpipe::ops {
class Ops;
}

namespace halfpipe::device {

enum class MemoryKind : std::uint8_t {
  kDevice,  // where kernels work
  kPinned,  // host memory that transports and copies reach directly; kernels may use it, slower
};

/// Of a device whose memory is not the host's.
struct OwnMemory {
  std::string device;       // tells it from the others of its machine, in every process
  std::int64_t free_bytes;  // now, for all who use it
};

/// All *_async work is ordered by the stream given.
class Backend {
 public:
  virtual ~Backend() = default;
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Whether a transport of the host may read and write kDevice memory.
  [[nodiscard]] virtual bool host_reaches_memory() const = 0;
  /// Absent: kDevice memory is the host's, or there is no device.
  [[nodiscard]] virtual std::optional<OwnMemory> own_memory() const { return std::nullopt; }
  /// At least 64-byte aligned; contents undefined. Throws RuntimeFailure that names the size when
  /// memory runs out.
  [[nodiscard]] virtual void* allocate(std::size_t bytes, MemoryKind kind) = 0;
  virtual void deallocate(void* pointer, MemoryKind kind) noexcept = 0;
  /// Between device and host or within the device; ranges must not overlap.
  virtual void copy_async(void* dst, const void* src, std::size_t bytes, Stream& stream) = 0;
  virtual void fill_async(void* dst, std::byte value, std::size_t bytes, Stream& stream) = 0;
  [[nodiscard]] virtual std::unique_ptr<Stream> make_stream(std::string_view label) = 0;
  [[nodiscard]] virtual std::unique_ptr<Event> make_event() = 0;
  [[nodiscard]] virtual const ops::Ops& ops() const = 0;

  /// Null: every operation is computed in one way.
  [[nodiscard]] virtual Tuner* tuner_or_null() { return nullptr; }

  /// Keeps what `work` enqueues on the stream, and runs none of it. `work` may use this stream
  /// alone, neither waits nor allocates, and has run before: code that it needs is loaded. Null,
  /// without a call of `work`, where the backend records nothing.
  [[nodiscard]] virtual std::unique_ptr<Recording> record(Stream& /*stream*/,
                                                          const std::function<void()>& /*work*/) {
    return nullptr;
  }

  /// For profilers: what this thread does until end_range() has a name, e.g. "forward of
  /// micro-batch 3 on stage 1". Ranges nest.
  virtual void begin_range(const char* /*name*/) {}
  virtual void end_range() {}
};

}  // namespace halfpipe::device
