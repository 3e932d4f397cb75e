// SPDX-License-Identifier: Apache-2.0
// The text of a YAML file that people write.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace halfpipe::config {

/// `kind` is what messages call it: "configuration". Throws FileError when there is no such regular
/// file, or when it cannot be read or is larger than 1 MiB.
[[nodiscard]] std::string read_short_file(const std::filesystem::path& file, std::string_view kind);

}  // namespace halfpipe::config
