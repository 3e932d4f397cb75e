// SPDX-License-Identifier: Apache-2.0
// The CUDA backend in a build without CUDA.
#include "kernels/core/error.h"
#include "kernels/cuda/cuda_backend.h"

namespace halfpipe::cuda {

bool cuda_available() {
  return false;
}

namespace {

[[noreturn]] void refuse() {
  throw ConfigError(
      "device.kind (cuda): this build has no CUDA backend; build with HALFPIPE_CUDA=ON, or use "
      "device.kind cpu");
}

}  // namespace

int num_devices() {
  refuse();
}

std::unique_ptr<device::Backend> make_cuda_backend(int /*device_index*/,
                                                   const CudaOptions& /*options*/) {
  refuse();
}

std::unique_ptr<device::Backend> make_cuda_planner(const CudaOptions& /*options*/) {
  refuse();
}

AttentionDecision decide_attention(AttentionChoice /*choice*/,
                                   int /*device_index*/,
                                   const ops::AttentionDims& /*dims*/,
                                   DType /*dtype*/) {
  refuse();
}

void check_attention_choice(AttentionChoice /*choice*/,
                            const ops::AttentionDims& /*dims*/,
                            DType /*dtype*/) {
  refuse();
}

}  // namespace halfpipe::cuda
