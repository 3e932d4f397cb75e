// SPDX-License-Identifier: Apache-2.0
// How cuDNN's attention divides its scratch, which is aligned less than cuDNN asks for, and how
// much of it engines may have.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cuda/cudnn_workspace.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cuda {

inline constexpr std::size_t kCudnnAlignment = 256;
/// Of an engine, beside the gradients of scores: 256 bytes were seen.
inline constexpr std::size_t kCudnnSmallWorkspaceBytes = std::size_t{64} << 10;

[[nodiscard]] CudnnWorkspace cudnn_forward_workspace();
/// At least the gradients of all scores, in bfloat16: an engine without them adds up dq in some
/// other way, of which the order is not known.
[[nodiscard]] CudnnWorkspace cudnn_backward_workspace(const ops::AttentionDims& dims);

/// Offsets from an aligned address.
struct CudnnBackwardScratch {
  explicit CudnnBackwardScratch(const ops::AttentionDims& dims);

  std::size_t delta;  // [B, NH, T] float32
  std::size_t dqkv;   // [B, T, 3, NH, HS] bfloat16
  std::size_t dqkv_bytes;
  std::size_t workspace;
  std::size_t bytes;
};

[[nodiscard]] inline std::byte* aligned_for_cudnn(void* scratch) {
  const auto address = reinterpret_cast<std::uintptr_t>(scratch);
  return static_cast<std::byte*>(scratch) +
         (round_up(address, std::uintptr_t{kCudnnAlignment}) - address);
}

}  // namespace halfpipe::cuda
