// SPDX-License-Identifier: Apache-2.0
// The message for a key that does not exist.
#pragma once

#include <string_view>

namespace halfpipe::config {

/// Throws ConfigError: `path`, found at `place`, is unknown; with the nearest known key, or else
/// what is known at that level.
[[noreturn]] void refuse_unknown_key(std::string_view place, std::string_view path);

}  // namespace halfpipe::config
