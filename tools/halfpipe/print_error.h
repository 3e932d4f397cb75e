// SPDX-License-Identifier: Apache-2.0
// The one form in which the command reports an error.
#pragma once

#include <string_view>

namespace halfpipe::tools {

/// Prints "halfpipe: error: MESSAGE" on stderr, as one line. Messages quote what users wrote: names
/// of files, keys, values, characters. Line breaks and other control characters in them appear as
/// \n, \r, \t or \x1b, so that no file can take a message apart or move the cursor of a terminal.
void print_error(std::string_view message);

}  // namespace halfpipe::tools
