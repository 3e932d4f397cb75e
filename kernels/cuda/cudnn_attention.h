// SPDX-License-Identifier: Apache-2.0
// Causal attention by cuDNN's fused engines, in bfloat16. Contracts: kernels/ops/attention.h, but
// for one point: backward keeps the gradients of all scores, [B, NH, T, T], in its scratch. Two
// runs give the same bits (cudnn_attention_graph.h). This header needs no cuDNN: a build without
// it, and emulated GPUs, have the same functions, and compute nothing (cudnn_attention_absent.cpp).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/core/dtype.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cuda {

/// Heads of up to this size, in multiples of 8, whatever the device.
inline constexpr int kMaxCudnnHeadSize = 128;

/// Why cuDNN has no attention for this on any device; empty where it may have. Needs no library.
[[nodiscard]] std::string why_never_by_cudnn(const ops::AttentionDims& dims, DType dtype);

/// Both hold for every device and version, so that plans need neither: an engine that asks for more
/// workspace than counted here is not taken.
[[nodiscard]] std::size_t cudnn_attention_forward_scratch_bytes(const ops::AttentionDims& dims);
/// 2 bytes per score, T rounded up to 128; dqkv once more, since it may be qkv's memory, which
/// cuDNN still reads when it begins to write; delta.
[[nodiscard]] std::size_t cudnn_attention_backward_scratch_bytes(const ops::AttentionDims& dims);

/// A context of cuDNN on the device that is current when it is first needed, and the plans made in
/// it. Any number of threads.
class CudnnAttention {
 public:
  CudnnAttention();
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  /// Makes the plans of both directions, which first uses do otherwise (a second or two: cuDNN
  /// compiles), and returns "cuDNN 9.19.0". Throws RuntimeFailure when there is no library or no
  /// engine, as the operations do.
  std::string prepare(const ops::AttentionDims& dims, DType dtype);

  void forward(const ops::AttentionForward& args, cudaStream_t stream);
  void backward_input(const ops::AttentionBackwardInput& args, cudaStream_t stream);

 private:
  class Context;

  [[nodiscard]] Context& context();

  std::mutex mutex_;
  std::unique_ptr<Context> context_;  // none before it is needed
};

}  // namespace halfpipe::cuda
