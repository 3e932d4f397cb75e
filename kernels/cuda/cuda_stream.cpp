// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cuda_stream.h"

#include "kernels/cuda/cuda_device.h"

namespace halfpipe::cuda {
namespace {

/// Before the stream is made, which a member initialiser does.
int made_current(int device_index) {
  make_current(device_index);
  return device_index;
}

bool is_done(cudaError_t answer) {
  if (answer == cudaErrorNotReady) {
    (void)cudaGetLastError();  // an answer, no error that a later launch should find
    return false;
  }
  HALFPIPE_CUDA_CHECK(answer);
  return true;
}

}  // namespace

bool CudaEvent::reached() const {
  return is_done(cudaEventQuery(handle_.get()));
}

void CudaEvent::synchronize() {
  HALFPIPE_CUDA_CHECK(cudaEventSynchronize(handle_.get()));
}

double CudaEvent::seconds_since(const device::Event& earlier) const {
  float milliseconds = 0.0F;
  HALFPIPE_CUDA_CHECK(cudaEventElapsedTime(
      &milliseconds, static_cast<const CudaEvent&>(earlier).get(), handle_.get()));
  return static_cast<double>(milliseconds) * 1e-3;
}

CudaStream::CudaStream(int device_index, StreamPriority priority)
    : device_index_(made_current(device_index)), handle_(priority) {}

void CudaStream::record(device::Event& event) {
  HALFPIPE_CUDA_CHECK(cudaEventRecord(static_cast<CudaEvent&>(event).get(), handle_.get()));
}

void CudaStream::wait_for(device::Event& event) {
  HALFPIPE_CUDA_CHECK(
      cudaStreamWaitEvent(handle_.get(), static_cast<CudaEvent&>(event).get(), /*flags=*/0));
}

void CudaStream::synchronize() {
  HALFPIPE_CUDA_CHECK(cudaStreamSynchronize(handle_.get()));
}

bool CudaStream::idle() const {
  return is_done(cudaStreamQuery(handle_.get()));
}

cudaStream_t cuda_stream_of(device::Stream& stream) {
  const auto& cuda_stream = static_cast<const CudaStream&>(stream);
  make_current(cuda_stream.device_index());
  return cuda_stream.get();
}

}  // namespace halfpipe::cuda
