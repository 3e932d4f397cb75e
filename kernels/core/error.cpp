// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/error.h"

namespace halfpipe {

void fail_check(std::string_view condition, std::string_view message, std::source_location where) {
  std::string text = "internal error at ";
  text += where.file_name();
  text += ':';
  text += std::to_string(where.line());
  text += ": ";
  text += message;
  text += " (";
  text += condition;
  text += ')';
  throw InternalError(text);
}

}  // namespace halfpipe
