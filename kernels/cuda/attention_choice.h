// SPDX-License-Identifier: Apache-2.0
// Whose kernels compute attention on a GPU: device.attention. This header needs no CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/core/dtype.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cuda {

enum class AttentionChoice : std::uint8_t {
  kFlash,  // ours
  kCudnn,
  kAuto,  // one of these, not decided yet
};

/// What kAuto spends on cuDNN's backward at most, which keeps a number per score (2 GiB for 4
/// sequences of 4096 tokens and 16 heads).
inline constexpr std::size_t kMostScratchOfAuto = std::size_t{1} << 30;

/// What a choice comes to.
struct AttentionDecision {
  AttentionChoice taken;
  std::string why;  // kCudnn: "cuDNN 9.19.0"; kFlash in place of kAuto: what speaks against cuDNN
};

/// For operations of these dims on this GPU. kAuto is cuDNN where it takes them, in both
/// directions, within kMostScratchOfAuto: no time is measured, so that ranks and runs with the same
/// devices and libraries decide alike. Throws ConfigError when kCudnn does not take them, and
/// otherwise as make_cuda_backend.
[[nodiscard]] AttentionDecision decide_attention(AttentionChoice choice,
                                                 int device_index,
                                                 const ops::AttentionDims& dims,
                                                 DType dtype);

/// Whether decide_attention may come to kCudnn, on some device.
[[nodiscard]] bool auto_may_take_cudnn(const ops::AttentionDims& dims, DType dtype);

/// What decide_attention will refuse on any device. Throws ConfigError.
void check_attention_choice(AttentionChoice choice, const ops::AttentionDims& dims, DType dtype);

}  // namespace halfpipe::cuda
