// SPDX-License-Identifier: Apache-2.0
// Parameters as the ranks of a tensor group hold them: slices of tensors that no rank has whole.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/model/parameter.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// The values of a whole tensor, a function of its name.
[[nodiscard]] std::vector<float> whole_values(const std::string& name, std::int64_t count);

/// What a rank holds of them: its slice, with numbers of its own as padding.
[[nodiscard]] std::vector<float> held_values(const std::string& name, const TensorSlice& slice);

/// How `num_ranks` cut a parameter as tensor parallelism does (column slices, groups of columns,
/// row slices with padding, or not at all, by its name), with cuts that are not even.
[[nodiscard]] TensorSlice uneven_slice(const model::ParameterSpec& spec, int rank, int num_ranks);

/// Runs `body` on each rank of a group; an exception fails the test.
void on_ranks(int num_ranks, const std::function<void(int rank, transport::Transport&)>& body);

}  // namespace halfpipe::runtime
