// SPDX-License-Identifier: Apache-2.0
// The watchdog's eyes and words: when a wait counts as stalled, who has died, and the messages that
// say so. Both transports use it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/transport/status_board.h"

namespace halfpipe::transport {

/// What a blocking call waits for.
struct WaitSubject {
  int rank = 0;  // the one that waits
  int world_size = 1;
  int peer = -1;          // the rank waited for; -1: all of them
  std::string_view what;  // "receive of 4096 bytes", "barrier"
};

/// Counts the seconds of one wait in which nothing has moved: neither the caller nor, as far as the
/// board shows, any other rank of the host.
class StallClock {
 public:
  /// timeout_seconds = 0 never stalls.
  StallClock(const StatusBoard& board, double timeout_seconds);
  /// True when the timeout has passed. To be called every few milliseconds: longer gaps count only
  /// in part, so that a job that was suspended as a whole is not taken for a stalled one.
  [[nodiscard]] bool stalled();
  /// Something has moved that the board does not show.
  void moved() { seconds_ = 0.0; }
  /// Seconds counted so far.
  [[nodiscard]] double seconds() const { return seconds_; }

 private:
  StatusBoard board_;
  double timeout_seconds_;
  double seconds_ = 0.0;
  std::uint64_t num_posts_;
  std::chrono::steady_clock::time_point last_;
};

/// Looks after the processes of the board that this process can see.
class DeathWatch {
 public:
  /// Called when all ranks of the board have entered it. Ranks of another process namespace cannot
  /// be seen and are left out.
  explicit DeathWatch(const StatusBoard& board);
  /// The slot of a rank whose process is gone without a goodbye.
  [[nodiscard]] std::optional<int> find_dead() const;

 private:
  StatusBoard board_;
  std::vector<int> visible_slots_;
};

/// The slot of `rank` on this host's board.
[[nodiscard]] std::optional<int> slot_of(const StatusBoard& board, int rank);

/// The slot of a rank that the wait needs and that has left the board.
[[nodiscard]] std::optional<int> find_left(const StatusBoard& board, const WaitSubject& subject);

/// "rank 2/4 (pid 1234) is stopped (state T) at step 7, instruction 12: wait_recv (activation of
/// micro-batch 3, stage 1 to 2), peer rank 1"; no peer when its status has none.
[[nodiscard]] std::string describe(const RankReport& report, int world_size);
/// For a rank that has died without a goodbye.
[[nodiscard]] std::string death_message(const StatusBoard& board, int slot, int world_size);
/// For a wait that has stalled: who waited for whom, who is to blame, then a line for each rank.
[[nodiscard]] std::string stall_message(const StatusBoard& board,
                                        const WaitSubject& subject,
                                        double seconds);
/// For a wait for a rank that has left.
[[nodiscard]] std::string left_message(const StatusBoard& board,
                                       const WaitSubject& subject,
                                       int slot);

}  // namespace halfpipe::transport
