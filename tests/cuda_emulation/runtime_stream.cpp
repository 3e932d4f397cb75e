// SPDX-License-Identifier: Apache-2.0
// Streams and events: tests/cuda_emulation/runtime_api.h.
#include <chrono>
#include <memory>
#include <utility>

#include "tests/cuda_emulation/graph_capture.h"
#include "tests/cuda_emulation/last_error.h"
#include "tests/cuda_emulation/runtime_api.h"
#include "tests/cuda_emulation/stream_queue.h"

using namespace halfpipe::cuda_emulation;

namespace {

using Time = std::chrono::steady_clock::time_point;

}  // namespace

struct CUevent_st {
  bool keeps_time = true;
  Mark mark;
  // When the mark was reached. Shared with the work that writes it, which may run after the event
  // was recorded anew or destroyed.
  std::shared_ptr<Time> time_or_null;
};

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  *stream = make_stream();
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int /*priority*/) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* lowest, int* highest) {
  *lowest = 0;
  *highest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  destroy_stream(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = check_not_capturing(stream); error != cudaSuccess) return error;
  finish(mark_end(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t error = check_not_capturing(stream); error != cudaSuccess) return error;
  return is_reached(mark_end(stream)) ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
  if (const cudaError_t error = check_not_capturing(stream); error != cudaSuccess) return error;
  enqueue_wait(stream, event->mark);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0, {}, nullptr};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = check_not_capturing(stream); error != cudaSuccess) return error;
  auto time = std::make_shared<Time>();
  event->time_or_null = time;
  enqueue(stream, "cudaEventRecord",
          [time = std::move(time)] { *time = std::chrono::steady_clock::now(); });
  event->mark = mark_end(stream);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  finish(event->mark);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return is_reached(event->mark) ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  for (const cudaEvent_t event : {start, end}) {
    if (!event->keeps_time || event->time_or_null == nullptr) {
      return remember(cudaErrorInvalidResourceHandle);
    }
  }
  if (!is_reached(start->mark) || !is_reached(end->mark)) return remember(cudaErrorNotReady);
  const auto elapsed = *end->time_or_null - *start->time_or_null;
  *milliseconds = std::chrono::duration<float, std::milli>(elapsed).count();
  return cudaSuccess;
}
