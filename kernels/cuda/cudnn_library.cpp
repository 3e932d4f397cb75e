// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cudnn_library.h"

#include <array>

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::cuda {

std::string CudnnLibrary::name() const {
  const std::size_t version = get_version();
  return fmt::format("cuDNN {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string CudnnLibrary::last_words() const {
  std::array<char, 512> words{};
  get_last_error_string(words.data(), words.size());
  return words.data();
}

void CudnnLibrary::check(cudnnStatus_t status, const char* what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string words = last_words();
  throw RuntimeFailure(
      fmt::format("{}: {}{}{}", what, get_error_string(status), words.empty() ? "" : ": ", words));
}

}  // namespace halfpipe::cuda
