// SPDX-License-Identifier: Apache-2.0
// What is known of cuDNN's attention without cuDNN.
#include <fmt/format.h>

#include "kernels/core/align.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/cudnn_attention_scratch.h"

namespace halfpipe::cuda {

std::string why_never_by_cudnn(const ops::AttentionDims& dims, DType dtype) {
  if (dtype != DType::kBFloat16) {
    return "cuDNN's fused attention is for bf16";
  }
  // cuDNN 9.26 ends the process while it makes the plan of such a backward.
  if (dims.T == 1) return "cuDNN takes sequences of two tokens and more";
  if (dims.HS % 8 != 0 || dims.HS > kMaxCudnnHeadSize) {
    return fmt::format("cuDNN takes heads of a multiple of 8 elements up to {}, and these have {}",
                       kMaxCudnnHeadSize, dims.HS);
  }
  return "";
}

CudnnWorkspace cudnn_forward_workspace() {
  return {0, kCudnnSmallWorkspaceBytes};
}

CudnnWorkspace cudnn_backward_workspace(const ops::AttentionDims& dims) {
  const auto gradients = [&](std::int64_t T) {
    return static_cast<std::size_t>(dims.B * dims.NH * T * T) * size_of(DType::kBFloat16);
  };
  // 9.19 and 9.26 round T up to 64 or 128, by device.
  return {gradients(dims.T),
          gradients(round_up(dims.T, std::int64_t{128})) + kCudnnSmallWorkspaceBytes};
}

CudnnBackwardScratch::CudnnBackwardScratch(const ops::AttentionDims& dims)
    : delta(0),
      dqkv(round_up(static_cast<std::size_t>(dims.B * dims.NH * dims.T) * sizeof(float),
                    kCudnnAlignment)),
      dqkv_bytes(static_cast<std::size_t>(3 * dims.B * dims.T * dims.NH * dims.HS) *
                 size_of(DType::kBFloat16)),
      workspace(dqkv + round_up(dqkv_bytes, kCudnnAlignment)),
      bytes(workspace + cudnn_backward_workspace(dims).most_bytes) {}

std::size_t cudnn_attention_forward_scratch_bytes(const ops::AttentionDims& /*dims*/) {
  return kCudnnSmallWorkspaceBytes + kCudnnAlignment;
}

std::size_t cudnn_attention_backward_scratch_bytes(const ops::AttentionDims& dims) {
  return CudnnBackwardScratch(dims).bytes + kCudnnAlignment;
}

}  // namespace halfpipe::cuda
