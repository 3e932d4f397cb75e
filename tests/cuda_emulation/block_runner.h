// SPDX-License-Identifier: Apache-2.0
// Runs the blocks of a launch, one after another, on one thread of the operating system: the
// threads of a block are fibers that run until they wait for each other. What no order of the
// threads can mend (a barrier that some threads never reach) ends the process with a message that
// names kernel, block and thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cuda_emulation/device_limits.h"
#include "tests/cuda_emulation/fiber.h"
#include "tests/cuda_emulation/schedule.h"
#include "tests/cuda_emulation/vector_types.h"

namespace halfpipe::cuda_emulation {

inline constexpr int kLanes = 32;
inline constexpr std::size_t kMaxWarpsPerBlock = kMaxThreadsPerBlock / kLanes;

struct Launch {
  std::string kernel;  // for messages
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  std::function<void()> body;  // what one thread runs
  Schedule schedule;
};

/// What the lanes of a warp can do together. All lanes of a mask must do the same.
enum class Meeting : std::uint8_t {
  kBarrier,
  kShuffle,
  kVote,
  kReduction,
  kMatrixProduct,
  kMatrixLoad,
};

/// What a lane brings to a meeting, and takes from it.
struct alignas(64) LaneSlot {
  std::array<std::byte, 64> bytes;

  template <typename T>
  void put(const T& value) {
    static_assert(sizeof(T) <= sizeof(bytes));
    __builtin_memcpy(bytes.data(), &value, sizeof(T));
  }
  template <typename T>
  [[nodiscard]] T get() const {
    T value;
    __builtin_memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
};

/// The slots of a warp, by lane.
using WarpSlots = std::array<LaneSlot, kLanes>;

/// Runs once per meeting, when its last lane has come: reads what the lanes of `mask` brought and
/// puts what they take.
using Conclude = void (*)(WarpSlots& slots, std::uint32_t mask);

class BlockRunner {
 public:
  BlockRunner();
  ~BlockRunner();
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;

  /// Before the first block of a launch.
  void begin(const Launch& launch);
  void run_block(uint3 block_index);

  /// The runner whose kernel calls; ends the process when called from outside of a kernel.
  [[nodiscard]] static BlockRunner& current();

  // What a kernel's threads call.

  void wait_for_block();
  /// A barrier of the block, too.
  [[nodiscard]] int count_in_block(bool predicate);
  /// Waits for the lanes of `mask`. What the calling lane brings is in slot() before, what it takes
  /// after. Without anything to conclude: null.
  void meet(Meeting meeting, std::uint32_t mask, Conclude conclude_or_null);
  /// The calling lane's.
  [[nodiscard]] LaneSlot& slot() { return (*warps_)[running_ / kLanes].slots[lane()]; }
  [[nodiscard]] std::uint32_t lane() const { return running_ % kLanes; }
  [[nodiscard]] std::byte* dynamic_shared() const { return shared_; }

  void copy_async(void* destination, const void* source, bool valid);
  void commit_copies();
  void wait_for_copies(int pending_groups);

  /// Prints the reason and where, and what the block's threads are doing; aborts.
  [[noreturn]] void fail(std::string_view reason) const;

 private:
  enum class State : std::uint8_t { kReady, kAtBarrier, kInMeeting, kEnded };

  struct Copy {
    void* destination;
    const void* source;
    int group;
    bool valid;
  };

  struct Thread {
    FiberContext context;
    uint3 index;
    State state;
    Meeting meeting;
    std::uint32_t mask;  // of the meeting it waits for
    int copy_group;      // that its next copy belongs to
    std::vector<Copy> copies;
  };

  struct Warp {
    std::uint32_t ready;    // lanes that can run
    std::uint32_t meeting;  // lanes that wait in a meeting
    std::uint32_t called;   // lanes that meetings wait for or have; each lane is in one at most
    std::uint32_t ended;
    WarpSlots slots;
  };

  static void thread_main();
  void prepare_threads();
  void poison_shared();
  void check_shared() const;
  [[nodiscard]] std::uint32_t next_thread();
  void make_ready(std::uint32_t warp, std::uint32_t lanes);
  void switch_to_next();
  void check_meeting(const Thread& thread, const Warp& warp) const;
  [[noreturn]] void fail_deadlocked() const;
  [[nodiscard]] std::uint32_t random();
  [[nodiscard]] std::string describe_threads() const;

  const Launch* launch_ = nullptr;
  uint3 block_index_{};
  std::uint32_t num_threads_ = 0;
  std::uint32_t num_warps_ = 0;
  std::uint32_t running_ = 0;
  std::uint32_t num_at_barrier_ = 0;
  std::uint32_t num_ended_ = 0;
  int count_ = 0;                  // of the predicates that held, up to the barrier
  std::uint32_t ready_warps_ = 0;  // warps with a lane that can run
  std::uint32_t random_state_ = 1;

  FiberStacks stacks_;
  FiberContext host_;
  std::unique_ptr<std::array<Thread, kMaxThreadsPerBlock>> threads_;
  std::unique_ptr<std::array<Warp, kMaxWarpsPerBlock>> warps_;

  std::byte* thread_local_;   // where the __shared__ variables of this thread are
  std::byte* shared_memory_;  // pages, the last of them unreadable
  std::byte* shared_ = nullptr;
};

}  // namespace halfpipe::cuda_emulation
