// SPDX-License-Identifier: Apache-2.0
// The one device of the emulation, and errors: tests/cuda_emulation/runtime_api.h.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/cuda_emulation/block_runner.h"
#include "tests/cuda_emulation/device_limits.h"
#include "tests/cuda_emulation/last_error.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/runtime_api.h"
#include "tests/cuda_emulation/stream_queue.h"

using namespace halfpipe::cuda_emulation;

namespace {

struct ErrorWords {
  cudaError_t error;
  const char* name;
  const char* text;
};

constexpr ErrorWords kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorCudartUnloading, "cudaErrorCudartUnloading", "driver shutting down"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
};

const ErrorWords* words_of(cudaError_t error) {
  for (const ErrorWords& words : kErrors) {
    if (words.error == error) return &words;
  }
  return nullptr;
}

thread_local cudaError_t t_last_error = cudaSuccess;

}  // namespace

cudaError_t halfpipe::cuda_emulation::remember(cudaError_t error) {
  if (error != cudaSuccess) t_last_error = error;
  return error;
}

const char* cudaGetErrorString(cudaError_t error) {
  const ErrorWords* words = words_of(error);
  return words == nullptr ? "unrecognized error code" : words->text;
}
const char* cudaGetErrorName(cudaError_t error) {
  const ErrorWords* words = words_of(error);
  return words == nullptr ? "unrecognized error code" : words->name;
}
cudaError_t cudaGetLastError() {
  return std::exchange(t_last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return t_last_error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  *properties = {};
  std::strcpy(properties->name, "CUDA emulation");
  properties->totalGlobalMem = device_bytes();
  properties->sharedMemPerBlock = kSharedBytes;
  properties->sharedMemPerBlockOptin = kSharedBytesOptIn;
  properties->major = kComputeCapabilityMajor;
  properties->minor = kComputeCapabilityMinor;
  properties->multiProcessorCount = kMultiprocessors;
  properties->warpSize = kLanes;
  properties->l2CacheSize = kL2CacheBytes;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = kComputeCapabilityMajor;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = kComputeCapabilityMinor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(kSharedBytesOptIn);
      return cudaSuccess;
  }
  return remember(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int bytes, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  static std::atomic<int> num_threads{0};
  thread_local const int own_number = num_threads++;
  const int number = std::getenv("HALFPIPE_EMULATION_ONE_GPU") == nullptr ? own_number : 0;
  std::snprintf(id, static_cast<std::size_t>(bytes), "emulated %d-%d", static_cast<int>(getpid()),
                number);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  finish_all();
  return cudaSuccess;
}
