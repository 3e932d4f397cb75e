// SPDX-License-Identifier: Apache-2.0
// What tells the data of a job from other data, for a comparison between ranks and with a
// checkpoint.
#pragma once

#include "engine/checkpoint/trainer_state.h"
#include "engine/data/dataset.h"

namespace halfpipe::runtime {

/// Counts the tokens of both splits and digests them: all tokens of a split up to 16 Mi, of a
/// larger one 4096 pieces spread evenly from its first token to its last. Text and the shards made
/// of it have the same record.
[[nodiscard]] checkpoint::DataRecord describe_data(const data::Dataset& dataset);

}  // namespace halfpipe::runtime
