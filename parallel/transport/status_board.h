// SPDX-License-Identifier: Apache-2.0
// The board on which the ranks of one host say what they do, in memory that all of them share
// (threads of one process, or processes with a shared mapping). Lock-free: a rank that is killed or
// stopped half-way through a post blocks nobody.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "parallel/transport/doorbell.h"
#include "parallel/transport/process_state.h"
#include "parallel/transport/transport.h"

namespace halfpipe::transport {

/// Where a rank stands in its life.
enum class Life : std::int32_t {
  kAbsent,   // not there yet
  kRunning,  // between enter() and leave()
  kEnded,    // said goodbye: it needs nobody any more
  kFailed,   // left because of an error
};

/// What the board says of one rank.
struct RankReport {
  int rank = -1;
  ProcessIdentity process;
  Life life = Life::kAbsent;
  RankStatus status;  // its text may mix two posts, but always ends
};

/// A view of the board; copies show the same board. One slot per rank of this host; each slot is
/// written by its rank alone.
class StatusBoard {
 public:
  [[nodiscard]] static std::size_t bytes_for(int num_slots);
  /// Makes an empty board in `memory` (aligned to 8 bytes). Done once, before anyone attaches.
  [[nodiscard]] static StatusBoard create(std::span<std::byte> memory, int num_slots);
  [[nodiscard]] static StatusBoard attach(std::span<std::byte> memory, int num_slots);

  void enter(int slot, int rank, const ProcessIdentity& process);
  void publish(int slot, const RankStatus& status);
  void leave(int slot, Life life);

  [[nodiscard]] int num_slots() const { return num_slots_; }
  [[nodiscard]] RankReport report(int slot) const;
  [[nodiscard]] Life life(int slot) const;
  /// By which the other ranks of this host wake the one of this slot.
  [[nodiscard]] Doorbell& doorbell(int slot) const;
  /// Number of posts so far, of all ranks: as long as it grows, somebody moves.
  [[nodiscard]] std::uint64_t num_posts() const;
  /// True for the first caller alone: that one reports the end of the job.
  [[nodiscard]] bool claim_last_words() noexcept;

 private:
  struct Slot;
  struct Header;
  StatusBoard(std::byte* memory, int num_slots);
  [[nodiscard]] Slot& slot_at(int slot) const;

  Header* header_;
  Slot* slots_;
  int num_slots_;
};

}  // namespace halfpipe::transport
