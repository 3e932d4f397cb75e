// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/print_error.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace halfpipe::tools {

namespace {

std::string escaped(unsigned char byte) {
  switch (byte) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return fmt::format("\\x{:02x}", byte);
  }
}

}  // namespace

void print_error(std::string_view message) {
  std::string line = "halfpipe: error: ";
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      line += escaped(byte);
    } else {
      line += c;
    }
  }
  line += '\n';
  // One write, so that lines of several ranks do not mix; fmt::print would throw where stderr is
  // full, and there is nobody left to tell.
  std::fputs(line.c_str(), stderr);
}

}  // namespace halfpipe::tools
