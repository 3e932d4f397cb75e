// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/schedule.h"

#include <charconv>
#include <cstdlib>
#include <mutex>

#include "kernels/core/error.h"

namespace halfpipe::cuda_emulation {
namespace {

constexpr std::string_view kShuffledPrefix = "shuffled:";

struct Current {
  std::mutex mutex;
  Schedule schedule;
};

Current& current() {
  static Current instance;
  static const bool read_environment = [] {
    const char* text = std::getenv("HALFPIPE_EMULATION_SCHEDULE");
    if (text != nullptr) instance.schedule = parse_schedule(text);
    return true;
  }();
  static_cast<void>(read_environment);
  return instance;
}

}  // namespace

Schedule parse_schedule(std::string_view text) {
  if (text == "forward") return {Order::kForward, 0};
  if (text == "reverse") return {Order::kReverse, 0};
  Schedule schedule{Order::kShuffled, 0};
  if (text.starts_with(kShuffledPrefix)) {
    const std::string_view digits = text.substr(kShuffledPrefix.size());
    const char* end = digits.data() + digits.size();
    const auto [stopped, error] = std::from_chars(digits.data(), end, schedule.seed);
    if (error == std::errc() && stopped == end) return schedule;
  }
  throw ConfigError("emulation schedule '" + std::string(text) +
                    "' must be forward, reverse or shuffled:<seed>");
}

std::string to_string(const Schedule& schedule) {
  switch (schedule.order) {
    case Order::kForward:
      return "forward";
    case Order::kReverse:
      return "reverse";
    case Order::kShuffled:
      break;
  }
  return std::string(kShuffledPrefix) + std::to_string(schedule.seed);
}

std::vector<Schedule> schedules_to_try() {
  return {{Order::kForward, 0},  {Order::kReverse, 0},  {Order::kShuffled, 0},
          {Order::kShuffled, 1}, {Order::kShuffled, 2}, {Order::kShuffled, 3}};
}

Schedule current_schedule() {
  Current& now = current();
  const std::lock_guard lock(now.mutex);
  return now.schedule;
}

void set_schedule(const Schedule& schedule) {
  Current& now = current();
  const std::lock_guard lock(now.mutex);
  now.schedule = schedule;
}

}  // namespace halfpipe::cuda_emulation
