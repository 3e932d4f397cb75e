// SPDX-License-Identifier: Apache-2.0
// cuDNN's attention in a build without cuDNN's headers.
#include "kernels/core/error.h"
#include "kernels/cuda/cudnn_attention.h"

namespace halfpipe::cuda {

class CudnnAttention::Context {};

namespace {

[[noreturn]] void refuse() {
  throw RuntimeFailure("this build has no cuDNN");
}

}  // namespace

CudnnAttention::CudnnAttention() = default;
CudnnAttention::~CudnnAttention() = default;

std::string CudnnAttention::prepare(const ops::AttentionDims& /*dims*/, DType /*dtype*/) {
  refuse();
}

void CudnnAttention::forward(const ops::AttentionForward& /*args*/, cudaStream_t /*stream*/) {
  refuse();
}

void CudnnAttention::backward_input(const ops::AttentionBackwardInput& /*args*/,
                                    cudaStream_t /*stream*/) {
  refuse();
}

}  // namespace halfpipe::cuda
