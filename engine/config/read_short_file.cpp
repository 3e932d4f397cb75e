// SPDX-License-Identifier: Apache-2.0
#include "engine/config/read_short_file.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <fstream>
#include <system_error>

namespace halfpipe::config {

// Regular files only: a pipe may never end, and a device neither. And never more than the limit,
// since files of /proc tell no size.
std::string read_short_file(const std::filesystem::path& file, std::string_view kind) {
  constexpr std::size_t kLargest = 1 << 20;  // bytes; a configuration has a few thousand
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) {
    throw FileError(fmt::format("{}: no such {} file", file.string(), kind));
  }
  if (std::filesystem::is_directory(status)) {
    throw FileError(fmt::format("{}: is a directory; a {} is a YAML file", file.string(), kind));
  }
  if (!std::filesystem::is_regular_file(status)) {
    throw FileError(
        fmt::format("{}: is not a regular file; a {} is a YAML file", file.string(), kind));
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(kLargest + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad() || !(stream.good() || stream.eof())) {
    throw FileError(file.string() + ": cannot be read");
  }
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > kLargest) {
    throw FileError(
        fmt::format("{}: is larger than 1 MiB; a {} is a short YAML file", file.string(), kind));
  }
  return text;
}

}  // namespace halfpipe::config
