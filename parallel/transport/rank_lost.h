// SPDX-License-Identifier: Apache-2.0
// The error of a rank that cannot go on because another one stands still or is gone.
#pragma once

#include "kernels/core/error.h"

namespace halfpipe::transport {

/// Thrown by the blocking calls of a Transport. The message names this rank, what it waited for,
/// and the rank that is to blame as far as it can be seen.
class RankLost : public RuntimeFailure {
 public:
  using RuntimeFailure::RuntimeFailure;
};

}  // namespace halfpipe::transport
