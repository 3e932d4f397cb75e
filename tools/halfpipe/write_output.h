// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace halfpipe::tools {

/// Writes a file that the user named: whole or absent; but what is no regular file, such as a
/// device, is written to, not replaced. Throws RuntimeFailure that names the file.
void write_output(const std::string& path, std::string_view text);

}  // namespace halfpipe::tools
