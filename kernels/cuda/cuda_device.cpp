// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cuda_device.h"

#include <cstdlib>

#include <fmt/format.h>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_check.h"

namespace halfpipe::cuda {
namespace {

// Compute capability of A100: tensor cores for bfloat16 and asynchronous copies.
constexpr int kOldestMajor = 8;

int attribute_of(int device_index, cudaDeviceAttr attribute) {
  int value = 0;
  HALFPIPE_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device_index));
  return value;
}

/// Streams beyond that many share a queue, in which a message that waits for its peer would hold up
/// the passes behind it. Before the first call of CUDA, which reads it.
void ask_for_queues() {
  static const int done = setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*overwrite=*/0);
  (void)done;
}

}  // namespace

int num_devices() {
  ask_for_queues();
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    throw RuntimeFailure(
        fmt::format("this machine has no usable NVIDIA GPU: {}",
                    status == cudaSuccess ? "the driver lists none" : cudaGetErrorString(status)));
  }
  return count;
}

void require_device(int device_index) {
  const int count = num_devices();
  if (device_index < 0 || device_index >= count) {
    throw UserError(
        fmt::format("there is no GPU {}: this machine has {}, counted from 0 (CUDA_VISIBLE_DEVICES "
                    "may hide some)",
                    device_index, count));
  }
  const int major = attribute_of(device_index, cudaDevAttrComputeCapabilityMajor);
  if (major < kOldestMajor) {
    throw UserError(fmt::format(
        "GPU {} has compute capability {}.{}; Halfpipe needs {}.0 or higher", device_index, major,
        attribute_of(device_index, cudaDevAttrComputeCapabilityMinor), kOldestMajor));
  }
}

void make_current(int device_index) {
  HALFPIPE_CUDA_CHECK(cudaSetDevice(device_index));
}

}  // namespace halfpipe::cuda
