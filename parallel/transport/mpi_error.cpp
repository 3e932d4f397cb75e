// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_error.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace halfpipe::transport {

void throw_mpi_error(int code, const char* call, const char* file, int line) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw MpiError(fmt::format("{}:{}: {} failed: {}", file, line, call,
                             std::string_view(text.data(), static_cast<std::size_t>(length))));
}

}  // namespace halfpipe::transport
