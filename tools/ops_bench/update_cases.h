// SPDX-License-Identifier: Apache-2.0
// The operations at the end of an optimizer step.
#pragma once

#include "tools/ops_bench/model_shape.h"
#include "tools/ops_bench/op_case.h"

namespace halfpipe::ops_bench {

/// The head's gradient of a tied embedding added to the embedding's own.
[[nodiscard]] OpCase accumulate(const ModelShape& model);

/// One call over all parameters, where training has one for each; at most kMostUpdated of them,
/// which are beyond any cache and fit any machine.
inline constexpr std::int64_t kMostUpdated = std::int64_t{1} << 26;
[[nodiscard]] OpCase sum_of_squares(const ModelShape& model);
[[nodiscard]] OpCase adamw(const ModelShape& model);

}  // namespace halfpipe::ops_bench
