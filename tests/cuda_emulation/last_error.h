// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/cuda_emulation/runtime_api.h"

namespace halfpipe::cuda_emulation {

/// What cudaGetLastError() gives next on this thread, unless it is a success; returns it.
cudaError_t remember(cudaError_t error);

}  // namespace halfpipe::cuda_emulation
