// SPDX-License-Identifier: Apache-2.0
// Found before the header of this name beside the kernels.
#pragma once

#include <cstddef>

#include "tests/cuda_emulation/block_runner.h"

#define HALFPIPE_DYNAMIC_SHARED(name) \
  std::byte* const name = ::halfpipe::cuda_emulation::BlockRunner::current().dynamic_shared()
