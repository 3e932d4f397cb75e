// SPDX-License-Identifier: Apache-2.0
// How much workspace an engine of cuDNN's may ask for. This header needs no cuDNN.
#pragma once

#include <cstddef>

namespace halfpipe::cuda {

/// Both ends are fine.
struct CudnnWorkspace {
  std::size_t least_bytes;
  std::size_t most_bytes;
};

}  // namespace halfpipe::cuda
