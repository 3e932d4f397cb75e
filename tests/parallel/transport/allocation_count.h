// SPDX-License-Identifier: Apache-2.0
// Counts what a thread allocates, by replacing the global operator new of the test.
#pragma once

#include <cstdint>

namespace halfpipe::transport {

/// Calls of operator new by this thread so far.
[[nodiscard]] std::int64_t num_allocations();

}  // namespace halfpipe::transport
