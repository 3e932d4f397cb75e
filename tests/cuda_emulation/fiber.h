// SPDX-License-Identifier: Apache-2.0
// Threads of execution that take turns on one thread of the operating system: a stack each, and a
// switch that costs a few nanoseconds. x86-64 only.
#pragma once

#include <cstddef>

namespace halfpipe::cuda_emulation {

/// Where a fiber that does not run stopped. The thread that starts fibers has one, too.
struct FiberContext {
  void* stack_pointer = nullptr;
  const void* stack_bottom = nullptr;  // lowest address
  std::size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
  void* tsan_fiber = nullptr;  // ThreadSanitizer's
};

/// Fills in what describes the calling thread itself.
void describe_this_thread(FiberContext& context);

/// The stacks of several fibers, an unreadable page below each.
class FiberStacks {
 public:
  explicit FiberStacks(std::size_t count);
  ~FiberStacks();
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;

  /// Makes `context` start with `entry`, on stack `index`, when it is next switched to. `entry`
  /// must not return.
  void prepare(FiberContext& context, std::size_t index, void (*entry)()) const;

 private:
  std::size_t count_;
  std::byte* memory_;
};

/// Goes on in `to`; returns when something switches back to `from`.
void switch_fiber(FiberContext& from, FiberContext& to);

/// As switch_fiber, from a fiber that will not run again until it is prepared anew.
[[noreturn]] void leave_fiber(FiberContext& from, FiberContext& to);

/// First thing in a fiber's entry.
void enter_fiber();

}  // namespace halfpipe::cuda_emulation
