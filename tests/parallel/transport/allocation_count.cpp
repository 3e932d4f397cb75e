// SPDX-License-Identifier: Apache-2.0
#include "tests/parallel/transport/allocation_count.h"

#include <cstdlib>
#include <new>

namespace {

thread_local std::int64_t count = 0;

}  // namespace

// The array forms and the sized ones call these.
void* operator new(std::size_t bytes) {
  ++count;
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
  std::free(memory);
}

namespace halfpipe::transport {

std::int64_t num_allocations() {
  return count;
}

}  // namespace halfpipe::transport
