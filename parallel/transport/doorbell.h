// SPDX-License-Identifier: Apache-2.0
// How one rank wakes another one of its host: a word in memory that both share.
#pragma once

#include <atomic>
#include <cstdint>

namespace halfpipe::transport {

/// Lock-free; a rank that is killed at any point leaves it usable. Lives in shared memory.
class Doorbell {
 public:
  /// Wakes whoever listens; costs no system call when nobody does.
  void ring() noexcept;
  /// To be read before looking at what a ring may announce.
  [[nodiscard]] std::uint32_t rings() const noexcept { return rings_.load(); }
  /// Sleeps for `microseconds`, or until rung; not at all when rung since rings() was `seen`.
  void listen(std::uint32_t seen, double microseconds) noexcept;

 private:
  std::atomic<std::uint32_t> rings_{0};
  std::atomic<std::int32_t> num_listeners_{0};
};

}  // namespace halfpipe::transport
