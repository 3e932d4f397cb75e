// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/workbench.h"

#include <algorithm>
#include <array>

#include "kernels/core/bfloat16.h"
#include "kernels/core/philox.h"

namespace halfpipe::ops_bench {
namespace {

constexpr std::uint64_t kSeed = 1;
constexpr std::int64_t kBlockValues = 1 << 18;

/// count random words, each made into a T.
template <typename T, typename FromWord>
std::vector<T> from_random_words(std::int64_t count, const FromWord& from_word) {
  std::vector<T> made(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < made.size(); i += 4) {
    const std::array<std::uint32_t, 4> words = philox(kSeed, i);
    for (std::size_t j = 0; j < std::min<std::size_t>(4, made.size() - i); ++j) {
      made[i + j] = from_word(words[j]);
    }
  }
  return made;
}

const std::vector<float>& block_of_values() {
  static const auto block = from_random_words<float>(kBlockValues, [](std::uint32_t word) {
    return static_cast<float>(2.0 * uniform_open(word) - 1.0);
  });
  return block;
}

const std::vector<BFloat16>& block_of_rounded_values() {
  static const auto block = [] {
    std::vector<BFloat16> rounded(block_of_values().size());
    std::ranges::transform(block_of_values(), rounded.begin(), to_bfloat16);
    return rounded;
  }();
  return block;
}

std::size_t bytes_of(std::int64_t count, DType dtype) {
  return static_cast<std::size_t>(count) * size_of(dtype);
}

}  // namespace

Workbench::Workbench(device::Backend& backend, device::Stream& stream)
    : backend_(backend), stream_(stream) {}

void* Workbench::values(std::int64_t count, DType dtype) {
  std::byte* const first = take(bytes_of(count, dtype));
  const void* const block = dtype == DType::kBFloat16
                                ? static_cast<const void*>(block_of_rounded_values().data())
                                : block_of_values().data();
  for (std::int64_t begin = 0; begin < count; begin += kBlockValues) {
    backend_.copy_async(first + bytes_of(begin, dtype), block,
                        bytes_of(std::min(kBlockValues, count - begin), dtype), stream_);
  }
  return first;
}

float* Workbench::values(std::int64_t count) {
  return static_cast<float*>(values(count, DType::kFloat32));
}

void* Workbench::zeros(std::int64_t count, DType dtype) {
  std::byte* const first = take(bytes_of(count, dtype));
  backend_.fill_async(first, std::byte{0}, bytes_of(count, dtype), stream_);
  return first;
}

float* Workbench::zeros(std::int64_t count) {
  return static_cast<float*>(zeros(count, DType::kFloat32));
}

std::int32_t* Workbench::tokens(std::int64_t count, std::int64_t V) {
  const auto chosen = from_random_words<std::int32_t>(
      count, [V](std::uint32_t word) { return static_cast<std::int32_t>(word % V); });
  const std::size_t bytes = chosen.size() * sizeof(std::int32_t);
  std::byte* const first = take(bytes);
  backend_.copy_async(first, chosen.data(), bytes, stream_);
  stream_.synchronize();  // `chosen` ends here
  return reinterpret_cast<std::int32_t*>(first);
}

std::byte* Workbench::scratch(std::size_t bytes) {
  return take(bytes);
}

std::byte* Workbench::take(std::size_t bytes) {
  return buffers_.emplace_back(backend_, bytes).bytes_pointer();
}

}  // namespace halfpipe::ops_bench
