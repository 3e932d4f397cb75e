// SPDX-License-Identifier: Apache-2.0
// Ranks read their own files and command lines; what must be one thing in the whole job is compared
// here before anything is built on it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/runtime/training/training_inputs.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

struct NamedValue {
  std::string name;
  std::string value;  // neither holds a zero byte
};

/// Throws AgreedError (exit code 2) with the first name whose values differ, the values and the
/// ranks that have them. Collective.
void require_same_on_all_ranks(std::span<const NamedValue> mine, transport::Transport& transport);

/// Every key of a configuration except device.threads_per_rank (hosts may differ in their cores,
/// and threads change no result), and what device.hardware says.
[[nodiscard]] std::vector<NamedValue> keys_of_a_job(const config::RunConfig& config);

/// What ranks must have decided alike for their devices: whose kernels compute attention.
[[nodiscard]] std::vector<NamedValue> device_of_a_job(const config::RunConfig& config);

/// What ranks must have found alike when they opened the data: model.vocab_size, vocabulary and
/// splits.
[[nodiscard]] std::vector<NamedValue> data_of_a_job(const TrainingInputs& inputs);

}  // namespace halfpipe::runtime
