// SPDX-License-Identifier: Apache-2.0
// Causal attention of kernels/ops/attention.h as graphs of cuDNN's, in bfloat16. Its fused engines
// know a graph by its shape, so these follow the one that NVIDIA documents ("Attention", cuDNN's
// frontend guide); the operation that stands for all of it (SDPA_FWD) has no causal mask in 9.19.
#pragma once

#include <cstdint>

#include "kernels/cuda/cudnn_graph.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cuda {

/// Ids of the tensors in memory.
struct CudnnAttentionId {
  static constexpr std::int64_t kQ = 1;  // of qkv: [B, T, 3, NH, HS]
  static constexpr std::int64_t kK = 2;
  static constexpr std::int64_t kV = 3;
  static constexpr std::int64_t kOut = 4;    // [B, T, NH, HS]
  static constexpr std::int64_t kLse = 5;    // [B, NH, T] float32
  static constexpr std::int64_t kDOut = 6;   // [B, T, NH, HS]
  static constexpr std::int64_t kDelta = 7;  // [B, NH, T] float32, written by backward for itself
  static constexpr std::int64_t kDQ = 8;     // of dqkv: [B, T, 3, NH, HS]
  static constexpr std::int64_t kDK = 9;
  static constexpr std::int64_t kDV = 10;
};

/// Reads q, k and v; writes out and lse.
[[nodiscard]] CudnnGraph attention_forward_graph(const CudnnLibrary& library,
                                                 const ops::AttentionDims& dims);

/// Reads q, k, v, out, lse and dout; writes delta, dq, dk and dv, which are no memory that it
/// reads. dq is the plain product of gradients of scores with k, for which engines keep all of
/// these gradients in their workspace, in bfloat16: the form that NVIDIA's frontend takes where it
/// is asked for fixed orders of sums. (The other one adds parts to a float32 dq in the order in
/// which blocks end.)
[[nodiscard]] CudnnGraph attention_backward_graph(const CudnnLibrary& library,
                                                  const ops::AttentionDims& dims);

}  // namespace halfpipe::cuda
