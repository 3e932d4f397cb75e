// SPDX-License-Identifier: Apache-2.0
// The digest of a parameter that no rank holds whole.
#pragma once

#include <string>

#include "engine/model/parameter.h"
#include "engine/runtime/state/host_window.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// checkpoint::parameter_digest of the whole of a parameter, whose slices the ranks of `tensor`
/// hold (null: this rank alone holds all of it): it does not depend on how it is cut. What several
/// hold whole, each digests by itself. Piece by piece of a window's size, so that no rank takes
/// memory for the whole. Collective over `tensor`, whose ranks name the same parameter and have
/// windows of one size.
[[nodiscard]] std::string parameter_digest(const model::Parameter& parameter,
                                           HostWindow& window,
                                           transport::Transport* tensor_or_null);

}  // namespace halfpipe::runtime
