// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/write_output.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "engine/files/output_file.h"
#include "kernels/core/error.h"

namespace halfpipe::tools {

namespace {

namespace fs = std::filesystem;

/// Where the path leads, links followed as far as they go.
fs::path resolved(const std::string& path) {
  std::error_code error;
  const fs::path place = fs::absolute(path, error).lexically_normal();
  fs::path target = fs::weakly_canonical(place, error);
  return error ? place : target;
}

}  // namespace

void check_outputs(const std::vector<NamedFile>& outputs, const std::vector<NamedFile>& inputs) {
  std::vector<NamedFile> seen = inputs;
  for (const auto& [option, path] : outputs) {
    if (path.empty() || (option == std::string_view("--json") && path == "-")) continue;
    std::error_code ignored;
    const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : ".";
    if (!fs::is_directory(folder, ignored)) {
      throw RuntimeFailure(
          fmt::format("{} ({}): there is no folder {}", option, path, folder.string()));
    }
    if (!fs::path(path).has_filename() || fs::is_directory(path, ignored)) {
      throw ConfigError(fmt::format("{} ({}) is a folder, it must be a file", option, path));
    }
    for (const auto& [other, other_path] : seen) {
      if (resolved(path) != resolved(other_path)) continue;
      throw ConfigError(
          fmt::format("{} ({}) must be another file than that of {}", option, path, other));
    }
    seen.push_back({option, path});
  }
}

void write_output(const std::string& path, std::string_view text) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored)) {
    files::write_file(path, text);
    return;
  }
  std::ofstream out(path);
  out << text;
  out.close();
  if (!out) throw RuntimeFailure("cannot write " + path);
}

}  // namespace halfpipe::tools
