// SPDX-License-Identifier: Apache-2.0
// Activations [N, C] of which each tensor rank has some rows: from those to all of them, and from
// terms of a sum to the rank's rows of it. With one rank all rows are its own, and nothing happens.
#pragma once

#include <cstdint>

#include "engine/model/layer.h"

namespace halfpipe::model {

/// The rank's rows of whole [N, C].
[[nodiscard]] std::byte* own_rows(const PassContext& ctx, void* whole, std::int64_t C);

/// whole [N, C] gets the rows of every rank; this one's are `part`, which may lie at their place.
void gather_rows(PassContext& ctx, void* whole, const void* part, std::int64_t C);

/// All rows of what every rank has its rows of: `part` itself with one rank, otherwise gathered
/// into scratch from the workspace, which the caller's scope frees.
[[nodiscard]] const void* gathered(PassContext& ctx, const void* part, std::int64_t C);

/// out [rows, C] = the rank's rows of the sum over ranks of terms [N, C], + bias + residual [rows,
/// C]. out may be residual.
struct ScatteredSum {
  void* out;
  const void* terms;
  const void* bias_or_null;
  const void* residual_or_null;
  std::int64_t C;
};
void scatter_sum(PassContext& ctx, const ScatteredSum& sum);

/// y [rows, out] = x W + b + residual [rows, out], where ranks have columns of x [N, in] and the
/// same rows of W.
void linear_forward_of_rows(PassContext& ctx,
                            const ParameterSet& parameters,
                            const Linear& linear,
                            void* y,
                            const void* x,
                            const void* residual_or_null);
/// dx [rows, in] = dy W^T, where ranks have columns of dy [N, out] and of W.
void linear_backward_input_of_columns(PassContext& ctx,
                                      const ParameterSet& parameters,
                                      const Linear& linear,
                                      void* dx,
                                      const void* dy);

}  // namespace halfpipe::model
