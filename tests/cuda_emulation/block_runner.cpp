// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/block_runner.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "kernels/core/error.h"
#include "tests/cuda_emulation/executable_symbols.h"
#include "tests/cuda_emulation/thread_index.h"

namespace halfpipe::cuda_emulation {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSharedAlignment = 128;
constexpr std::size_t kSharedPagesBytes =
    (kSharedBytesOptIn + kSharedAlignment + kPageBytes - 1) / kPageBytes * kPageBytes;
/// Not a number, in float32 and bfloat16 alike; an index of it is far outside of everything.
constexpr int kPoison = 0xff;

// The runner of this thread whose kernel runs. Fibers stay on the thread that started them, so that
// the compiler may keep the address of a thread-local variable across a switch.
thread_local BlockRunner* t_current = nullptr;

constexpr std::string_view name_of(Meeting meeting) {
  switch (meeting) {
    case Meeting::kBarrier:
      return "__syncwarp";
    case Meeting::kShuffle:
      return "a shuffle";
    case Meeting::kVote:
      return "a vote";
    case Meeting::kReduction:
      return "a reduction";
    case Meeting::kMatrixProduct:
      return "mma_m16n8k16";
    case Meeting::kMatrixLoad:
      return "load_matrices";
  }
  return "";
}

std::string in_words(const uint3& v) {
  return fmt::format("({}, {}, {})", v.x, v.y, v.z);
}

std::uint32_t lowest(std::uint32_t mask) {
  return static_cast<std::uint32_t>(std::countr_zero(mask));
}
std::uint32_t highest(std::uint32_t mask) {
  return 31U - static_cast<std::uint32_t>(std::countl_zero(mask));
}
/// The first set bit at or after `start`, around the end.
std::uint32_t first_from(std::uint32_t mask, std::uint32_t start) {
  return (lowest(std::rotr(mask, static_cast<int>(start % 32))) + start) % 32;
}

}  // namespace

BlockRunner::BlockRunner()
    : stacks_(kMaxThreadsPerBlock),
      threads_(std::make_unique<std::array<Thread, kMaxThreadsPerBlock>>()),
      warps_(std::make_unique<std::array<Warp, kMaxWarpsPerBlock>>()) {
  describe_this_thread(host_);
  thread_local_ = thread_local_storage();
  void* memory = mmap(nullptr, kSharedPagesBytes + kPageBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw RuntimeFailure("cuda emulation: no shared memory");
  shared_memory_ = static_cast<std::byte*>(memory);
  mprotect(shared_memory_ + kSharedPagesBytes, kPageBytes, PROT_NONE);
}

BlockRunner::~BlockRunner() {
  munmap(shared_memory_, kSharedPagesBytes + kPageBytes);
}

BlockRunner& BlockRunner::current() {
  if (t_current == nullptr) {
    std::fputs("cuda emulation: a device function was called outside of a kernel\n", stderr);
    std::abort();
  }
  return *t_current;
}

void BlockRunner::begin(const Launch& launch) {
  launch_ = &launch;
  num_threads_ = launch.block.x * launch.block.y * launch.block.z;
  num_warps_ = (num_threads_ + kLanes - 1) / kLanes;
  const std::size_t bytes =
      (launch.shared_bytes + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment;
  shared_ = shared_memory_ + kSharedPagesBytes - bytes;
  blockDim = launch.block;
  gridDim = launch.grid;
}

void BlockRunner::run_block(uint3 block_index) {
  block_index_ = block_index;
  blockIdx = block_index;
  random_state_ = launch_->schedule.seed * 2654435761U + block_index.x * 40503U +
                  block_index.y * 9973U + block_index.z * 7919U + 1U;
  poison_shared();
  prepare_threads();
  t_current = this;
  running_ = next_thread();
  Thread& first = (*threads_)[running_];
  threadIdx = first.index;
  switch_fiber(host_, first.context);
  t_current = nullptr;
  check_shared();
}

void BlockRunner::prepare_threads() {
  const dim3 block = launch_->block;
  num_at_barrier_ = 0;
  num_ended_ = 0;
  count_ = 0;
  ready_warps_ = 0;
  for (std::uint32_t i = 0; i < num_threads_; ++i) {
    Thread& thread = (*threads_)[i];
    stacks_.prepare(thread.context, i, &BlockRunner::thread_main);
    thread.index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    thread.state = State::kReady;
    thread.copy_group = 0;
    thread.copies.clear();
  }
  for (std::uint32_t w = 0; w < num_warps_; ++w) {
    const std::uint32_t lanes = num_threads_ - w * kLanes;
    const std::uint32_t there = lanes >= kLanes ? ~0U : (1U << lanes) - 1U;
    Warp& warp = (*warps_)[w];
    warp.ready = there;
    warp.meeting = 0;
    warp.called = 0;
    warp.ended = ~there;
    ready_warps_ |= 1U << w;
  }
}

void BlockRunner::thread_main() {
  enter_fiber();
  BlockRunner& runner = *t_current;
  runner.launch_->body();
  const std::uint32_t ended = runner.running_;
  Thread& thread = (*runner.threads_)[ended];
  Warp& warp = (*runner.warps_)[ended / kLanes];
  thread.state = State::kEnded;
  warp.ended |= 1U << (ended % kLanes);
  ++runner.num_ended_;
  if (runner.num_ended_ == runner.num_threads_) leave_fiber(thread.context, runner.host_);
  runner.running_ = runner.next_thread();
  Thread& next = (*runner.threads_)[runner.running_];
  threadIdx = next.index;
  leave_fiber(thread.context, next.context);
}

void BlockRunner::make_ready(std::uint32_t warp, std::uint32_t lanes) {
  (*warps_)[warp].ready |= lanes;
  ready_warps_ |= 1U << warp;
}

std::uint32_t BlockRunner::next_thread() {
  if (ready_warps_ == 0) fail_deadlocked();
  std::uint32_t w = 0;
  std::uint32_t l = 0;
  switch (launch_->schedule.order) {
    case Order::kForward:
      w = lowest(ready_warps_);
      l = lowest((*warps_)[w].ready);
      break;
    case Order::kReverse:
      w = highest(ready_warps_);
      l = highest((*warps_)[w].ready);
      break;
    case Order::kShuffled: {
      const std::uint32_t draw = random();
      w = first_from(ready_warps_, draw >> 8);
      l = first_from((*warps_)[w].ready, draw >> 16);
      break;
    }
  }
  Warp& warp = (*warps_)[w];
  warp.ready &= ~(1U << l);
  if (warp.ready == 0) ready_warps_ &= ~(1U << w);
  return w * kLanes + l;
}

void BlockRunner::switch_to_next() {
  const std::uint32_t waiting = running_;
  running_ = next_thread();
  Thread& next = (*threads_)[running_];
  next.state = State::kReady;
  if (running_ == waiting) return;
  threadIdx = next.index;
  switch_fiber((*threads_)[waiting].context, next.context);
}

void BlockRunner::wait_for_block() {
  (*threads_)[running_].state = State::kAtBarrier;
  ++num_at_barrier_;
  if (num_at_barrier_ == num_threads_) {
    num_at_barrier_ = 0;
    for (std::uint32_t w = 0; w < num_warps_; ++w) make_ready(w, ~(*warps_)[w].ended);
  }
  switch_to_next();
}

int BlockRunner::count_in_block(bool predicate) {
  const int own = predicate ? 1 : 0;
  count_ += own;
  wait_for_block();
  const int count = count_;
  wait_for_block();
  count_ -= own;
  return count;
}

void BlockRunner::meet(Meeting meeting, std::uint32_t mask, Conclude conclude_or_null) {
  const std::uint32_t lane_bit = 1U << lane();
  Thread& thread = (*threads_)[running_];
  Warp& warp = (*warps_)[running_ / kLanes];
  thread.state = State::kInMeeting;
  thread.meeting = meeting;
  thread.mask = mask;
  check_meeting(thread, warp);
  warp.called |= mask;
  warp.meeting |= lane_bit;
  if ((warp.meeting & mask) == mask) {
    if (conclude_or_null != nullptr) conclude_or_null(warp.slots, mask);
    warp.meeting &= ~mask;
    warp.called &= ~mask;
    make_ready(running_ / kLanes, mask);
  }
  switch_to_next();
}

// The masks of the meetings of a warp have no lane in common, so that one waiting lane of a mask
// speaks for all.
void BlockRunner::check_meeting(const Thread& thread, const Warp& warp) const {
  const std::uint32_t mask = thread.mask;
  if ((mask >> lane() & 1U) == 0) {
    fail(fmt::format("a lane is not in the mask that it passes, {:#010x}", mask));
  }
  if ((mask & warp.ended) != 0) {
    fail(fmt::format("the mask {:#010x} names lanes that have ended or never were", mask));
  }
  const std::uint32_t waiting = warp.meeting & mask;
  if (waiting == 0) {
    if ((warp.called & mask) == 0) return;
    fail(fmt::format("the mask {:#010x} names lanes that others wait for with another mask", mask));
  }
  const std::uint32_t other_lane = lowest(waiting);
  const Thread& other = (*threads_)[running_ / kLanes * kLanes + other_lane];
  if (other.mask == mask && other.meeting == thread.meeting) return;
  fail(fmt::format(
      "lanes diverge: this one calls {} with mask {:#010x}, lane {} waits in {} with mask {:#010x}",
      name_of(thread.meeting), mask, other_lane, name_of(other.meeting), other.mask));
}

void BlockRunner::copy_async(void* destination, const void* source, bool valid) {
  const auto misaligned = [](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0;
  };
  if (misaligned(destination) || misaligned(source)) fail("copy_async_16: an end is misaligned");
  Thread& thread = (*threads_)[running_];
  const Order order = launch_->schedule.order;
  if (order == Order::kReverse || (order == Order::kShuffled && random() % 2 == 0)) {
    if (valid) {
      std::memcpy(destination, source, 16);
    } else {
      std::memset(destination, 0, 16);
    }
    return;
  }
  thread.copies.push_back({destination, source, thread.copy_group, valid});
}

void BlockRunner::commit_copies() {
  ++(*threads_)[running_].copy_group;
}

void BlockRunner::wait_for_copies(int pending_groups) {
  Thread& thread = (*threads_)[running_];
  const int end = thread.copy_group - pending_groups;
  std::size_t done = 0;
  for (; done < thread.copies.size() && thread.copies[done].group < end; ++done) {
    const Copy& copy = thread.copies[done];
    if (copy.valid) {
      std::memcpy(copy.destination, copy.source, 16);
    } else {
      std::memset(copy.destination, 0, 16);
    }
  }
  thread.copies.erase(thread.copies.begin(),
                      thread.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

void BlockRunner::poison_shared() {
  std::memset(shared_, kPoison,
              static_cast<std::size_t>(shared_memory_ + kSharedPagesBytes - shared_));
  for (const SharedVariable& variable : shared_variables()) {
    std::memset(thread_local_ + variable.offset, kPoison, variable.bytes);
  }
}

void BlockRunner::check_shared() const {
  for (const std::byte* at = shared_ + launch_->shared_bytes;
       at < shared_memory_ + kSharedPagesBytes; ++at) {
    if (*at != static_cast<std::byte>(kPoison)) {
      fail(fmt::format("a write past the end of the dynamic shared memory of {} bytes",
                       launch_->shared_bytes));
    }
  }
}

std::uint32_t BlockRunner::random() {  // xorshift32, Marsaglia 2003
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 17;
  random_state_ ^= random_state_ << 5;
  return random_state_;
}

void BlockRunner::fail_deadlocked() const {
  fail(num_at_barrier_ > 0 ? "a barrier is not reached by all threads of the block"
                           : "lanes wait for others that wait elsewhere");
}

std::string BlockRunner::describe_threads() const {
  std::string text;
  for (std::uint32_t w = 0; w < num_warps_; ++w) {
    const std::uint32_t end = std::min(num_threads_, (w + 1) * kLanes);
    std::uint32_t ready = 0;
    std::uint32_t at_barrier = 0;
    std::uint32_t in_meeting = 0;
    std::uint32_t ended = 0;
    for (std::uint32_t i = w * kLanes; i < end; ++i) {
      const std::uint32_t bit = 1U << (i % kLanes);
      switch ((*threads_)[i].state) {
        case State::kReady:
          ready |= bit;
          break;
        case State::kAtBarrier:
          at_barrier |= bit;
          break;
        case State::kInMeeting:
          in_meeting |= bit;
          break;
        case State::kEnded:
          ended |= bit;
          break;
      }
    }
    text += fmt::format(
        "  warp {}: ready {:#010x}, in __syncthreads {:#010x}, waiting in the warp {:#010x}, "
        "ended {:#010x}\n",
        w, ready, at_barrier, in_meeting, ended);
  }
  return text;
}

void BlockRunner::fail(std::string_view reason) const {
  const std::string text =
      fmt::format("cuda emulation: {}\n  kernel {}, block {}, thread {}, schedule {}\n{}", reason,
                  launch_->kernel, in_words(block_index_), in_words((*threads_)[running_].index),
                  to_string(launch_->schedule), describe_threads());
  std::fputs(text.c_str(), stderr);
  std::abort();
}

}  // namespace halfpipe::cuda_emulation
