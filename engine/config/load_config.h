// SPDX-License-Identifier: Apache-2.0
// A YAML file and settings of the command line become a RunConfig.
#pragma once

#include "engine/config/run_config.h"

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace halfpipe::config {

/// Reads `file`, applies `overrides` ("section.key=value", as given to --set) and checks every rule
/// of validate_config.h. Throws FileError when the file cannot be read, and ConfigError with one
/// message that begins with the place of the mistake: `run.yaml:12: ` or `--set train.steps=0: `.
/// `meant_anyway` are keys that have a meaning to the caller whatever the others say.
[[nodiscard]] RunConfig load_config(const std::filesystem::path& file,
                                    std::span<const std::string> overrides,
                                    std::span<const std::string> meant_anyway = {});

/// The same for a text; `name_for_messages` stands for the file.
[[nodiscard]] RunConfig parse_config(std::string_view yaml_text,
                                     std::string_view name_for_messages,
                                     std::span<const std::string> overrides,
                                     std::span<const std::string> meant_anyway = {});

/// The same with every key that has no meaning beside the others back at its default: for a
/// configuration that a program has changed.
[[nodiscard]] RunConfig without_idle_keys(RunConfig config);

/// The text that to_yaml wrote for a checkpoint, maybe by an earlier version, which also wrote keys
/// that have no meaning beside the others: those are passed over.
[[nodiscard]] RunConfig parse_saved_config(std::string_view yaml_text,
                                           std::string_view name_for_messages);

}  // namespace halfpipe::config
