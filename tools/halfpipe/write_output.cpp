// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/write_output.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "engine/files/output_file.h"
#include "kernels/core/error.h"

namespace halfpipe::tools {

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
