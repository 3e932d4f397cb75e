// SPDX-License-Identifier: Apache-2.0
// What `halfpipe schedule` refuses before it makes anything.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tools/halfpipe/schedule_options.h"

namespace halfpipe::tools {

/// "gpipe, 1f1b, ...": the schedules of the catalogue.
[[nodiscard]] std::string known_schedules();

/// The numbers of "4" or "4,3.5,3". Throws ConfigError where one is none.
[[nodiscard]] std::vector<double> memory_limit_in(const std::string& text);

/// Throws ConfigError that names the option, its value and the rule: values out of range, names
/// that are unknown or come twice, sizes beyond kMostPasses, options that would do nothing, outputs
/// that would replace each other. Throws RuntimeFailure where the folder of an output is missing.
void check_schedule_options(const CLI::App& command, const ScheduleOptions& options);

}  // namespace halfpipe::tools
