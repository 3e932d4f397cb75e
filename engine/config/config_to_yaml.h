// SPDX-License-Identifier: Apache-2.0
// The resolved configuration as text: printed at start, stored in every checkpoint.
#pragma once

#include "engine/config/run_config.h"

#include <string>

namespace halfpipe::config {

/// Every key with its value, one per line below its section; parse_config reads it back to an equal
/// RunConfig. Keys without a meaning beside the others (schedule.num_chunks) are left out.
[[nodiscard]] std::string to_yaml(const RunConfig& config);

/// The same for a reader's eye: a line for each section, "  model       num_layers: 8, ...".
[[nodiscard]] std::string to_section_lines(const RunConfig& config);

}  // namespace halfpipe::config
