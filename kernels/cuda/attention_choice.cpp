// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_choice.h"

#include <fmt/format.h>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cudnn_attention.h"

namespace halfpipe::cuda {
namespace {

[[noreturn]] void refuse_cudnn(const std::string& reason) {
  throw ConfigError(fmt::format(
      "device.attention (cudnn): {}; with auto or flash, Halfpipe's own kernels serve", reason));
}

std::string why_not_by_auto(const ops::AttentionDims& dims, DType dtype) {
  std::string reason = why_never_by_cudnn(dims, dtype);
  if (!reason.empty()) return reason;
  const std::size_t bytes = cudnn_attention_backward_scratch_bytes(dims);
  if (bytes <= kMostScratchOfAuto) return "";
  constexpr double kMebibyte = 1 << 20;
  return fmt::format("cuDNN's backward needs {:.0f} MiB of scratch, and auto spends {:.0f} at most",
                     static_cast<double>(bytes) / kMebibyte,
                     static_cast<double>(kMostScratchOfAuto) / kMebibyte);
}

}  // namespace

bool auto_may_take_cudnn(const ops::AttentionDims& dims, DType dtype) {
  return why_not_by_auto(dims, dtype).empty();
}

AttentionDecision decide_attention(AttentionChoice choice,
                                   int device_index,
                                   const ops::AttentionDims& dims,
                                   DType dtype) {
  if (choice == AttentionChoice::kFlash) return {choice, ""};
  check_attention_choice(choice, dims, dtype);
  require_device(device_index);
  make_current(device_index);
  if (choice == AttentionChoice::kAuto) {
    const std::string reason = why_not_by_auto(dims, dtype);
    if (!reason.empty()) return {AttentionChoice::kFlash, reason};
  }
  try {
    return {AttentionChoice::kCudnn, CudnnAttention().prepare(dims, dtype)};
  } catch (const RuntimeFailure& failure) {
    if (choice == AttentionChoice::kCudnn) refuse_cudnn(failure.what());
    return {AttentionChoice::kFlash, failure.what()};
  }
}

void check_attention_choice(AttentionChoice choice, const ops::AttentionDims& dims, DType dtype) {
  if (choice != AttentionChoice::kCudnn) return;
  const std::string reason = why_never_by_cudnn(dims, dtype);
  if (!reason.empty()) refuse_cudnn(reason);
}

}  // namespace halfpipe::cuda
