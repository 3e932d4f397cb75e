// SPDX-License-Identifier: Apache-2.0
// Streams and events of CUDA: their owners, and the device::Stream and device::Event over them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "kernels/cuda/cuda_check.h"
#include "kernels/device/stream.h"

namespace halfpipe::cuda {

/// Whose blocks of threads come first where there is no room for all.
enum class StreamPriority : std::uint8_t { kLow, kHigh };

/// Owns a non-blocking CUDA stream of the device that is current when it is made. A moved-from
/// object owns nothing.
class StreamHandle {
 public:
  explicit StreamHandle(StreamPriority priority) {
    int lowest = 0;
    int highest = 0;
    HALFPIPE_CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
    HALFPIPE_CUDA_CHECK(cudaStreamCreateWithPriority(
        &handle_, cudaStreamNonBlocking, priority == StreamPriority::kHigh ? highest : lowest));
  }
  ~StreamHandle() { reset(); }
  StreamHandle(StreamHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  StreamHandle& operator=(StreamHandle&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  StreamHandle(const StreamHandle&) = delete;
  StreamHandle& operator=(const StreamHandle&) = delete;

  [[nodiscard]] cudaStream_t get() const noexcept { return handle_; }

 private:
  void reset() noexcept {
    if (handle_ != nullptr) warn_on_cuda_error(cudaStreamDestroy(handle_), "cudaStreamDestroy");
    handle_ = nullptr;
  }

  cudaStream_t handle_ = nullptr;
};

/// Owns a CUDA event that keeps its time, of the device that is current when it is made. A
/// moved-from object owns nothing.
class EventHandle {
 public:
  EventHandle() { HALFPIPE_CUDA_CHECK(cudaEventCreateWithFlags(&handle_, cudaEventDefault)); }
  ~EventHandle() { reset(); }
  EventHandle(EventHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  EventHandle& operator=(EventHandle&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  EventHandle(const EventHandle&) = delete;
  EventHandle& operator=(const EventHandle&) = delete;

  [[nodiscard]] cudaEvent_t get() const noexcept { return handle_; }

 private:
  void reset() noexcept {
    if (handle_ != nullptr) warn_on_cuda_error(cudaEventDestroy(handle_), "cudaEventDestroy");
    handle_ = nullptr;
  }

  cudaEvent_t handle_ = nullptr;
};

/// Made while its device is current.
class CudaEvent final : public device::Event {
 public:
  void synchronize() override;
  [[nodiscard]] double seconds_since(const device::Event& earlier) const override;
  [[nodiscard]] bool reached() const override;

  [[nodiscard]] cudaEvent_t get() const noexcept { return handle_.get(); }

 private:
  EventHandle handle_;
};

class CudaStream final : public device::Stream {
 public:
  /// Makes the device current.
  explicit CudaStream(int device_index, StreamPriority priority = StreamPriority::kLow);

  void record(device::Event& event) override;
  void wait_for(device::Event& event) override;
  void synchronize() override;
  /// Whether everything enqueued is done; does not wait.
  [[nodiscard]] bool idle() const;

  [[nodiscard]] cudaStream_t get() const noexcept { return handle_.get(); }
  [[nodiscard]] int device_index() const noexcept { return device_index_; }

 private:
  int device_index_;
  StreamHandle handle_;
};

/// The handle of a CudaStream, for a launch: makes the stream's device current, since a launch from
/// another one fails.
[[nodiscard]] cudaStream_t cuda_stream_of(device::Stream& stream);

}  // namespace halfpipe::cuda
