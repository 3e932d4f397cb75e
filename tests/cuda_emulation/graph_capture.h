// SPDX-License-Identifier: Apache-2.0
// What is forbidden while a stream is captured.
#pragma once

#include "tests/cuda_emulation/runtime_api.h"

namespace halfpipe::cuda_emulation {

/// For a call that waits for the stream, or that makes others wait for it: an error while the
/// stream is captured, which spoils the capture.
[[nodiscard]] cudaError_t check_not_capturing(cudaStream_t stream);
/// For a call that takes memory: likewise while this thread captures any stream.
[[nodiscard]] cudaError_t check_thread_captures_nothing();

}  // namespace halfpipe::cuda_emulation
