// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/error.h"

namespace halfpipe {

void fail_check(std::string_view condition, std::string_view message, const char* file, int line) {
  std::string text = "internal error at ";
  text += file;
  text += ':';
  text += std::to_string(line);
  text += ": ";
  text += message;
  text += " (";
  text += condition;
  text += ')';
  throw InternalError(text);
}

}  // namespace halfpipe
