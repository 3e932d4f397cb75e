// SPDX-License-Identifier: Apache-2.0
// The GPU that the tests of an executable share. Where there is none, the executable ends before
// the first test, with one message and exit code 1.
#pragma once

#include "kernels/device/backend.h"

namespace halfpipe::testing {

[[nodiscard]] device::Backend& cuda_backend();
/// One stream for copies and operations of tests that need no other.
[[nodiscard]] device::Stream& cuda_stream();

}  // namespace halfpipe::testing
