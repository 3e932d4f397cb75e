// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/workbench.h"

#include <algorithm>
#include <array>

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

std::size_t bytes_of(std::int64_t count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

}  // namespace

Workbench::Workbench(device::Backend& backend, device::Stream& stream)
    : backend_(backend), stream_(stream) {}

float* Workbench::values(std::int64_t count) {
  auto* const first = reinterpret_cast<float*>(take(bytes_of(count), device::MemoryKind::kDevice));
  const std::vector<float>& block = block_of_values();
  for (std::int64_t begin = 0; begin < count; begin += kBlockValues) {
    backend_.copy_async(first + begin, block.data(),
                        bytes_of(std::min(kBlockValues, count - begin)), stream_);
  }
  return first;
}

float* Workbench::zeros(std::int64_t count) {
  std::byte* const first = take(bytes_of(count), device::MemoryKind::kDevice);
  backend_.fill_async(first, std::byte{0}, bytes_of(count), stream_);
  return reinterpret_cast<float*>(first);
}

std::int32_t* Workbench::tokens(std::int64_t count, std::int64_t V) {
  const auto chosen = from_random_words<std::int32_t>(
      count, [V](std::uint32_t word) { return static_cast<std::int32_t>(word % V); });
  const std::size_t bytes = chosen.size() * sizeof(std::int32_t);
  std::byte* const first = take(bytes, device::MemoryKind::kDevice);
  backend_.copy_async(first, chosen.data(), bytes, stream_);
  stream_.synchronize();  // `chosen` ends here
  return reinterpret_cast<std::int32_t*>(first);
}

std::byte* Workbench::scratch(std::size_t bytes) {
  return take(bytes, device::MemoryKind::kDevice);
}

double* Workbench::host_number() {
  return reinterpret_cast<double*>(take(sizeof(double), device::MemoryKind::kPinned));
}

std::byte* Workbench::take(std::size_t bytes, device::MemoryKind kind) {
  return buffers_.emplace_back(backend_, bytes, kind).bytes_pointer();
}

}  // namespace halfpipe::ops_bench
