// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/op_case.h"

#include <fmt/format.h>

namespace halfpipe::ops_bench {

std::string shape_text(std::initializer_list<std::int64_t> dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

}  // namespace halfpipe::ops_bench
