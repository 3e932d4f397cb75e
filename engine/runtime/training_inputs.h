// SPDX-License-Identifier: Apache-2.0
// The data of a training job, opened and held against the model.
#pragma once

#include "engine/config/run_config.h"
#include "engine/data/dataset.h"

namespace halfpipe::runtime {

/// Opens config.data, fills in model.vocab_size where it is auto (0), and checks that both splits
/// are long enough for a sequence and that the model has an id for every token of them. Throws
/// ConfigError or FileError.
data::Dataset open_training_data(config::RunConfig& config);

}  // namespace halfpipe::runtime
