// SPDX-License-Identifier: Apache-2.0
// The choices that a GPU leaves open and the emulation has to make: which thread of a block runs
// first, when an asynchronous copy lands, how far the streams get (stream_queue.h). Correct code
// gives the same bits under each of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::cuda_emulation {

enum class Order : std::uint8_t {
  kForward,   // the lowest thread that can run; copies land at the wait
  kReverse,   // the highest thread that can run; copies land at once
  kShuffled,  // any thread that can run; each copy lands at once or at the wait
};

struct Schedule {
  Order order = Order::kForward;
  std::uint32_t seed = 0;  // of kShuffled

  friend bool operator==(const Schedule&, const Schedule&) = default;
};

/// "forward", "reverse" or "shuffled:<seed>". Throws ConfigError for anything else.
[[nodiscard]] Schedule parse_schedule(std::string_view text);
[[nodiscard]] std::string to_string(const Schedule& schedule);

/// What code should be tried with: forward, reverse and shuffles.
[[nodiscard]] std::vector<Schedule> schedules_to_try();

/// Of the launches to come, on all host threads. At first what the environment variable
/// HALFPIPE_EMULATION_SCHEDULE says, else forward.
[[nodiscard]] Schedule current_schedule();
void set_schedule(const Schedule& schedule);

}  // namespace halfpipe::cuda_emulation
