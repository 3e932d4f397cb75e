// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/watch.h"

#include <fmt/format.h>

#include <algorithm>

namespace halfpipe::transport {
namespace {

/// Longest time between two looks that is believed to be waiting; see StallClock::stalled.
constexpr double kLongestCountedGapSeconds = 0.5;

std::string_view state_in_words(const RankReport& report) {
  switch (report.life) {
    case Life::kAbsent:
      return "has not started";
    case Life::kEnded:
      return "has ended";
    case Life::kFailed:
      return "has failed";
    case Life::kRunning:
      break;
  }
  switch (state_of(report.process)) {
    case ProcessState::kAlive:
      return "is running";
    case ProcessState::kStopped:
      return "is stopped (state T)";
    case ProcessState::kDead:
      return "has died";
  }
  return "is in an unknown state";
}

std::string place_in_words(const RankStatus& status) {
  if (status.step < 0) return fmt::format("outside a step: {}", status.text);
  if (status.instruction < 0) return fmt::format("at step {}: {}", status.step, status.text);
  return fmt::format("at step {}, instruction {}: {}", status.step, status.instruction,
                     status.text);
}

std::string peer_in_words(const RankStatus& status) {
  return status.peer < 0 ? "" : fmt::format(", peer rank {}", status.peer);
}

/// A rank that does not run explains every wait; otherwise it is the rank at the end of the chain
/// of waits that starts at `peer`.
std::optional<int> find_suspect(const StatusBoard& board, int peer) {
  for (int slot = 0; slot < board.num_slots(); ++slot) {
    const RankReport report = board.report(slot);
    if (report.life != Life::kRunning) continue;
    if (state_of(report.process) != ProcessState::kAlive) return slot;
  }
  std::optional<int> suspect;
  for (int hops = 0; hops < board.num_slots() && peer >= 0; ++hops) {
    const auto slot = slot_of(board, peer);
    if (!slot) break;
    suspect = slot;
    peer = board.report(*slot).status.peer;
  }
  return suspect;
}

}  // namespace

StallClock::StallClock(const StatusBoard& board, double timeout_seconds)
    : board_(board),
      timeout_seconds_(timeout_seconds),
      num_posts_(board.num_posts()),
      last_(std::chrono::steady_clock::now()) {}

bool StallClock::stalled() {
  const auto now = std::chrono::steady_clock::now();
  const double gap = std::chrono::duration<double>(now - last_).count();
  last_ = now;
  seconds_ += std::min(gap, kLongestCountedGapSeconds);
  const std::uint64_t num_posts = board_.num_posts();
  if (num_posts != num_posts_) {
    num_posts_ = num_posts;
    seconds_ = 0.0;
  }
  return timeout_seconds_ > 0.0 && seconds_ >= timeout_seconds_;
}

DeathWatch::DeathWatch(const StatusBoard& board) : board_(board) {
  for (int slot = 0; slot < board.num_slots(); ++slot) {
    if (state_of(board.report(slot).process) != ProcessState::kDead) visible_slots_.push_back(slot);
  }
}

std::optional<int> DeathWatch::find_dead() const {
  for (const int slot : visible_slots_) {
    if (board_.life(slot) != Life::kRunning) continue;
    if (state_of(board_.report(slot).process) != ProcessState::kDead) continue;
    // It may have said goodbye and gone between the two looks.
    if (board_.life(slot) == Life::kRunning) return slot;
  }
  return std::nullopt;
}

std::optional<int> slot_of(const StatusBoard& board, int rank) {
  for (int slot = 0; slot < board.num_slots(); ++slot) {
    const RankReport report = board.report(slot);
    if (report.life != Life::kAbsent && report.rank == rank) return slot;
  }
  return std::nullopt;
}

std::optional<int> find_left(const StatusBoard& board, const WaitSubject& subject) {
  for (int slot = 0; slot < board.num_slots(); ++slot) {
    const Life life = board.life(slot);
    if (life != Life::kEnded && life != Life::kFailed) continue;
    const int rank = board.report(slot).rank;
    if (subject.peer < 0 ? rank != subject.rank : rank == subject.peer) return slot;
  }
  return std::nullopt;
}

std::string describe(const RankReport& report, int world_size) {
  return fmt::format("rank {}/{} (pid {}) {} {}{}", report.rank, world_size, report.process.pid,
                     state_in_words(report), place_in_words(report.status),
                     peer_in_words(report.status));
}

std::string death_message(const StatusBoard& board, int slot, int world_size) {
  const RankReport report = board.report(slot);
  return fmt::format("rank {}/{} (pid {}) has died {}{}; ending the job", report.rank, world_size,
                     report.process.pid, place_in_words(report.status),
                     peer_in_words(report.status));
}

std::string stall_message(const StatusBoard& board, const WaitSubject& subject, double seconds) {
  std::string message =
      fmt::format("rank {}/{} waited {:.1f} s", subject.rank, subject.world_size, seconds);
  message += subject.peer < 0 ? fmt::format(" in the {}", subject.what)
                              : fmt::format(" for rank {} ({})", subject.peer, subject.what);
  if (const auto own = slot_of(board, subject.rank)) {
    message += ", " + place_in_words(board.report(*own).status);
  }
  const auto suspect = find_suspect(board, subject.peer);
  if (suspect && board.report(*suspect).rank != subject.rank) {
    message += "; " + describe(board.report(*suspect), subject.world_size);
  }
  message += "; ending the job. Ranks of this host:";
  for (int slot = 0; slot < board.num_slots(); ++slot) {
    message += "\n  " + describe(board.report(slot), subject.world_size);
  }
  return message;
}

std::string left_message(const StatusBoard& board, const WaitSubject& subject, int slot) {
  return fmt::format("rank {}/{} waits ({}), but {}; ending the job", subject.rank,
                     subject.world_size, subject.what,
                     describe(board.report(slot), subject.world_size));
}

}  // namespace halfpipe::transport
