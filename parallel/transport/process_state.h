// SPDX-License-Identifier: Apache-2.0
// Whether another process of this machine still runs, from /proc.
#pragma once

#include <cstdint>

namespace halfpipe::transport {

/// A process id alone may be given to a new process; together with the start time it is unique.
struct ProcessIdentity {
  std::int64_t pid = 0;
  std::int64_t start_time = 0;  // clock ticks since boot, /proc/[pid]/stat field 22
};

enum class ProcessState : std::uint8_t {
  kAlive,
  kStopped,  // by SIGSTOP, SIGTSTP or a debugger
  kDead,     // gone, or a zombie that nobody has collected yet
};

[[nodiscard]] ProcessIdentity this_process();
[[nodiscard]] ProcessState state_of(const ProcessIdentity& process);

}  // namespace halfpipe::transport
