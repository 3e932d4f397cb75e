// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include <fmt/format.h>

#include "tests/cuda_emulation/device_limits.h"

namespace halfpipe::cuda_emulation {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kAlignment = 256;
constexpr int kPoison = 0xff;  // not a number, in float32 and bfloat16 alike

/// The allocation ends, but for its alignment, where an unreadable page begins. Between them, and
/// before it, lies poison that nobody may change.
struct Allocation {
  std::byte* pages;
  std::size_t page_bytes;  // without the unreadable page
  std::byte* begin;
  std::size_t bytes;
  Place place;
};

struct Memory {
  std::mutex mutex;
  std::map<std::uintptr_t, Allocation> by_begin;

  /// Under the lock.
  [[nodiscard]] std::size_t bytes_in(Place place) const {
    std::size_t bytes = 0;
    for (const auto& [begin, allocation] : by_begin) {
      if (allocation.place == place) bytes += allocation.bytes;
    }
    return bytes;
  }
};

// Never destroyed: other static objects may free memory at the process's end.
Memory& memory() {
  static auto* instance = new Memory;
  return *instance;
}

constexpr std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

[[noreturn]] void fail(const std::string& reason, const Allocation& a, std::string_view culprit) {
  const std::string text =
      fmt::format("cuda emulation: {} an allocation of {} bytes\n  in or before {}\n", reason,
                  a.bytes, culprit);
  std::fputs(text.c_str(), stderr);
  std::abort();
}

bool is_poison(const std::byte* begin, const std::byte* end) {
  for (; begin < end; ++begin) {
    if (*begin != static_cast<std::byte>(kPoison)) return false;
  }
  return true;
}

void check(const Allocation& a, std::string_view culprit) {
  const std::byte* end = a.begin + a.bytes;
  if (!is_poison(end, a.pages + a.page_bytes)) fail("a write past the end of", a, culprit);
  if (!is_poison(a.pages, a.begin)) fail("a write before the beginning of", a, culprit);
}

}  // namespace

std::size_t device_bytes() {
  static const char* const text = std::getenv("HALFPIPE_EMULATION_DEVICE_BYTES");
  return text == nullptr ? kDeviceBytes : std::strtoull(text, nullptr, 10);
}

void* allocate(std::size_t bytes, Place place) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  if (place == Place::kDevice && all.bytes_in(place) + bytes > device_bytes()) return nullptr;
  Allocation a{};
  const std::size_t aligned = round_up(bytes, kAlignment);
  a.page_bytes = round_up(aligned + kAlignment, kPageBytes);
  void* pages = mmap(nullptr, a.page_bytes + kPageBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  a.pages = static_cast<std::byte*>(pages);
  mprotect(a.pages + a.page_bytes, kPageBytes, PROT_NONE);
  a.begin = a.pages + a.page_bytes - aligned;
  a.bytes = bytes;
  a.place = place;
  std::memset(a.pages, kPoison, a.page_bytes);
  all.by_begin.emplace(reinterpret_cast<std::uintptr_t>(a.begin), a);
  return a.begin;
}

bool release(void* pointer, Place place) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  const auto at = all.by_begin.find(reinterpret_cast<std::uintptr_t>(pointer));
  if (at == all.by_begin.end() || at->second.place != place) return false;
  check(at->second, "work before it was freed");
  munmap(at->second.pages, at->second.page_bytes + kPageBytes);
  all.by_begin.erase(at);
  return true;
}

void check_guards(std::string_view culprit) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  for (const auto& [begin, allocation] : all.by_begin) check(allocation, culprit);
}

std::optional<Place> check_range(const void* pointer, std::size_t bytes, std::string_view culprit) {
  const auto begin = reinterpret_cast<std::uintptr_t>(pointer);
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  auto at = all.by_begin.upper_bound(begin);
  if (at == all.by_begin.begin()) return std::nullopt;
  --at;
  const Allocation& allocation = at->second;
  const std::uintptr_t end = at->first + allocation.bytes;
  if (begin >= end) return std::nullopt;
  if (begin + bytes > end) fail("an access past the end of", allocation, culprit);
  return allocation.place;
}

std::size_t allocated_bytes(Place place) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  return all.bytes_in(place);
}

}  // namespace halfpipe::cuda_emulation
