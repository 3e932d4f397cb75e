// SPDX-License-Identifier: Apache-2.0
// One hash for all parameters of a model, the same on every layout of ranks.
#pragma once

#include <map>
#include <span>
#include <string>

#include "engine/checkpoint/sharded_tensors.h"

namespace halfpipe::checkpoint {

/// Digest of one parameter's float32 values, bit for bit (-0 and 0 differ).
[[nodiscard]] std::string parameter_digest(std::span<const float> values);

/// Hash of a whole model from name -> parameter_digest of every parameter, wherever each was
/// computed: the digest of the lines "name digest\n" in the order of names. Zero biases of a model
/// without biases and the copy that a tied head is do not count.
[[nodiscard]] std::string parameter_hash(const std::map<std::string, std::string>& digests);

/// The same from files, for the parameters named; their values are read as float32.
[[nodiscard]] std::string parameter_hash(const ShardedTensors& tensors,
                                         std::span<const std::string> names);

}  // namespace halfpipe::checkpoint
