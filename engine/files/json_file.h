// SPDX-License-Identifier: Apache-2.0
// JSON that others may have written.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace halfpipe::files {

/// Parses the text of a file. FileError naming the file when it is not JSON, or is nested deeper
/// than any file that we read: printing or copying such a value would overflow the stack.
[[nodiscard]] nlohmann::json parse_json(std::string_view text, const std::string& file_name);

}  // namespace halfpipe::files
