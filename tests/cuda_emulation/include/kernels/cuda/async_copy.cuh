// SPDX-License-Identifier: Apache-2.0
// Found before the header of this name beside the kernels. A copy reads and writes at the latest
// moment that its contract allows (the wait) or at the earliest (at once), as the schedule says: a
// missing wait is found by the first, a buffer filled while others still read it by the second.
#pragma once

#include <cuda_runtime.h>

#include "tests/cuda_emulation/block_runner.h"

namespace halfpipe::cuda {

inline void copy_async_16(void* shared, const void* global, bool valid = true) {
  cuda_emulation::BlockRunner::current().copy_async(shared, global, valid);
}

inline void commit_copies() {
  cuda_emulation::BlockRunner::current().commit_copies();
}

template <int kPending>
void wait_for_copies() {
  cuda_emulation::BlockRunner::current().wait_for_copies(kPending);
}

}  // namespace halfpipe::cuda
