// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>

#include "kernels/core/error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

#ifndef __x86_64__
#error "fibers are written for x86-64"
#endif

// Saves what a called function must preserve (System V ABI) and takes it from the other stack. The
// modes of the floating-point units are not touched by kernels.
extern "C" void halfpipe_switch_stack(void** save, void* load);
asm(R"(
.text
.globl halfpipe_switch_stack
.type halfpipe_switch_stack, @function
halfpipe_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size halfpipe_switch_stack, .-halfpipe_switch_stack
)");

namespace halfpipe::cuda_emulation {
namespace {

constexpr std::size_t kPageBytes = 4096;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStackBytes = 256 * 1024;  // red zones around every local variable
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif
constexpr int kSavedRegisters = 6;

// Stacks lie a power of two apart, where the same depth of all of them would share one set of each
// cache: their tops are shifted against each other.
constexpr std::size_t kShiftBytes = 5 * 64;
constexpr std::size_t kDistinctShifts = 48;

}  // namespace

void describe_this_thread(FiberContext& context) {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
    throw RuntimeFailure("cuda emulation: the thread's stack is unknown");
  }
  void* bottom = nullptr;
  pthread_attr_getstack(&attributes, &bottom, &context.stack_bytes);
  context.stack_bottom = bottom;
  pthread_attr_destroy(&attributes);
#ifdef __SANITIZE_THREAD__
  context.tsan_fiber = __tsan_get_current_fiber();
#endif
}

FiberStacks::FiberStacks(std::size_t count) : count_(count) {
  void* memory = mmap(nullptr, count * kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw RuntimeFailure("cuda emulation: no memory for stacks");
  memory_ = static_cast<std::byte*>(memory);
  for (std::size_t i = 0; i < count; ++i) {
    mprotect(memory_ + i * kStackBytes, kPageBytes, PROT_NONE);
  }
}

FiberStacks::~FiberStacks() {
  munmap(memory_, count_ * kStackBytes);
}

void FiberStacks::prepare(FiberContext& context, std::size_t index, void (*entry)()) const {
  std::byte* bottom = memory_ + index * kStackBytes + kPageBytes;
  std::byte* top = bottom + kStackBytes - kPageBytes - (index % kDistinctShifts) * kShiftBytes;
  auto** slot = reinterpret_cast<void**>(top);
  *--slot = nullptr;  // where entry would return to; also aligns the stack as after a call
  *--slot = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--slot = nullptr;
  context.stack_pointer = slot;
  context.stack_bottom = bottom;
  context.stack_bytes = kStackBytes - kPageBytes;
  context.fake_stack = nullptr;
#ifdef __SANITIZE_THREAD__
  if (context.tsan_fiber == nullptr) context.tsan_fiber = __tsan_create_fiber(0);
#endif
}

void switch_fiber(FiberContext& from, FiberContext& to) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
  __tsan_switch_to_fiber(to.tsan_fiber, 0);
#endif
  halfpipe_switch_stack(&from.stack_pointer, to.stack_pointer);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void leave_fiber(FiberContext& from, FiberContext& to) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(nullptr, to.stack_bottom, to.stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
  __tsan_switch_to_fiber(to.tsan_fiber, 0);
#endif
  halfpipe_switch_stack(&from.stack_pointer, to.stack_pointer);
  __builtin_unreachable();
}

void enter_fiber() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

}  // namespace halfpipe::cuda_emulation
