// SPDX-License-Identifier: Apache-2.0
// Memory of the device and pinned memory of the host, copies, fills:
// tests/cuda_emulation/runtime_api.h.
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>

#include "tests/cuda_emulation/device_limits.h"
#include "tests/cuda_emulation/graph_capture.h"
#include "tests/cuda_emulation/last_error.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/runtime_api.h"
#include "tests/cuda_emulation/stream_queue.h"

using namespace halfpipe::cuda_emulation;

namespace {

cudaError_t allocate_in(Place place, void** pointer, std::size_t bytes) {
  if (const cudaError_t error = check_thread_captures_nothing(); error != cudaSuccess) return error;
  *pointer = bytes == 0 ? nullptr : allocate(bytes, place);
  return remember(*pointer != nullptr || bytes == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t release_from(Place place, void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  finish_all();
  return remember(release(pointer, place) ? cudaSuccess : cudaErrorInvalidValue);
}

/// Whether the addresses are where the kind says.
bool fits(cudaMemcpyKind kind, std::optional<Place> to, std::optional<Place> from) {
  const bool to_device = to == Place::kDevice;
  const bool from_device = from == Place::kDevice;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

bool overlap(const void* a, const void* b, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(a);
  const auto second = reinterpret_cast<std::uintptr_t>(b);
  return first < second + bytes && second < first + bytes;
}

}  // namespace

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  return allocate_in(Place::kDevice, pointer, bytes);
}
cudaError_t cudaFree(void* pointer) {
  return release_from(Place::kDevice, pointer);
}
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  return allocate_in(Place::kPinned, pointer, bytes);
}
cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned /*flags*/) {
  return cudaMallocHost(pointer, bytes);
}
cudaError_t cudaFreeHost(void* pointer) {
  return release_from(Place::kPinned, pointer);
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = device_bytes();
  *free_bytes = device_bytes() - allocated_bytes(Place::kDevice);
  return cudaSuccess;
}

// As CUDA says of host memory that is not pinned ("API synchronization behavior"): it is read
// before the call returns, or written.
cudaError_t cudaMemcpyAsync(
    void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  const std::optional<Place> to_place = check_range(to, bytes, "cudaMemcpyAsync");
  const std::optional<Place> from_place = check_range(from, bytes, "cudaMemcpyAsync");
  if (!fits(kind, to_place, from_place) || overlap(to, from, bytes)) {
    return remember(cudaErrorInvalidValue);
  }
  if (!from_place.has_value() || !to_place.has_value()) {
    if (const cudaError_t error = check_not_capturing(stream); error != cudaSuccess) return error;
  }
  if (from_place.has_value()) {
    enqueue(stream, "cudaMemcpyAsync", [=] { std::memcpy(to, from, bytes); });
  } else {
    // Shared, because std::function must be copyable.
    const auto staged = std::make_shared<std::byte[]>(bytes);
    std::memcpy(staged.get(), from, bytes);
    enqueue(stream, "cudaMemcpyAsync", [=] { std::memcpy(to, staged.get(), bytes); });
  }
  if (!to_place.has_value()) finish(mark_end(stream));
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  finish(mark_end(nullptr));
  return error;
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!check_range(to, bytes, "cudaMemsetAsync").has_value()) {
    return remember(cudaErrorInvalidValue);
  }
  enqueue(stream, "cudaMemsetAsync", [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  const cudaError_t error = cudaMemsetAsync(to, value, bytes, nullptr);
  finish(mark_end(nullptr));
  return error;
}
