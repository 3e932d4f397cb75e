// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/algorithm_text.h"

#include <charconv>
#include <cstdint>
#include <iterator>

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::cuda {
namespace {

constexpr std::size_t kDigits = 16;  // of a word of 64 bits, hexadecimal

}  // namespace

std::string to_text(const cublasLtMatmulAlgo_t& algorithm) {
  std::string text;
  for (const std::uint64_t word : algorithm.data) text += fmt::format("{:016x}", word);
  return text;
}

cublasLtMatmulAlgo_t algorithm_from_text(std::string_view text) {
  cublasLtMatmulAlgo_t algorithm{};
  bool is_right = text.size() == kDigits * std::size(algorithm.data);
  for (std::size_t i = 0; is_right && i < std::size(algorithm.data); ++i) {
    const char* const begin = text.data() + i * kDigits;
    const auto [end, error] = std::from_chars(begin, begin + kDigits, algorithm.data[i], 16);
    is_right = error == std::errc() && end == begin + kDigits;
  }
  if (!is_right) throw RuntimeFailure(fmt::format("'{}' is no algorithm of cuBLASLt", text));
  return algorithm;
}

}  // namespace halfpipe::cuda
