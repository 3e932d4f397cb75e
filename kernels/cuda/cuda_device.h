// SPDX-License-Identifier: Apache-2.0
// The GPUs of this machine: whether one can be used, and which one a thread works on.
#pragma once

namespace halfpipe::cuda {

/// Throws RuntimeFailure when this machine has no usable GPU, UserError when there is none of this
/// index or this build has no code for it.
void require_device(int device_index);

/// The device that allocations, launches and new streams of the calling thread go to. Where it
/// already is, the call costs less than a microsecond.
void make_current(int device_index);

}  // namespace halfpipe::cuda
