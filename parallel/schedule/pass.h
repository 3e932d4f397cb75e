// SPDX-License-Identifier: Apache-2.0
// The three passes of a stage over one micro-batch (Qi et al. 2023, arXiv:2401.10241, section 2).
#pragma once

#include <compare>
#include <cstdint>

namespace halfpipe::schedule {

enum class Pass : std::uint8_t {
  kForward,         // F: keeps what the backward passes need
  kBackwardInput,   // B: gradient of the stage's input
  kBackwardWeight,  // W: gradients of the stage's weights
};
inline constexpr int kNumPasses = 3;

/// One pass of one stage over one micro-batch.
struct PassOp {
  Pass pass;
  int stage;        // 0 .. num_stages-1, in the order in which a micro-batch meets them
  int micro_batch;  // 0 .. num_micro_batches-1

  // clang-tidy 14 takes the 0 that a defaulted comparison is made with for a null pointer.
  friend auto operator<=>(const PassOp&, const PassOp&) = default;  // NOLINT(modernize-use-nullptr)
};

}  // namespace halfpipe::schedule
