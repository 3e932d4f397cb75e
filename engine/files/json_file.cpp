// SPDX-License-Identifier: Apache-2.0
#include "engine/files/json_file.h"

#include "kernels/core/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace halfpipe::files {

nlohmann::json parse_json(std::string_view text, const std::string& file_name) {
  using nlohmann::json;
  constexpr int kMaxDepth = 32;  // ours need 3, a config.json of transformers about as many
  const auto check_depth = [&](int depth, json::parse_event_t /*event*/, json& /*value*/) {
    if (depth <= kMaxDepth) return true;
    throw FileError(
        fmt::format("{}: nested too deeply: more than {} levels", file_name, kMaxDepth));
  };
  try {
    return json::parse(text, check_depth);
  } catch (const json::exception& error) {
    throw FileError(fmt::format("{}: not JSON ({})", file_name, error.what()));
  }
}

}  // namespace halfpipe::files
