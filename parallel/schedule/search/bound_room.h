// SPDX-License-Identifier: Apache-2.0
// When a rank can have enough memory for a pass: the memory part of a head.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/schedule/search/bound_direction.h"
#include "parallel/schedule/search/bound_heads.h"

namespace halfpipe::schedule {

/// The room that one (phase, stage) needs on its rank for its passes k = 0, 1, ...
class RoomOfPhase {
 public:
  /// Both outlive it. `heads` gets the heads of passes as they become known.
  RoomOfPhase(const Direction& direction, const Heads& heads, PhaseOfStage op);

  /// The first moment at which enough may have been freed for pass k. Must be asked for ascending
  /// k, after the heads of all passes before k in the topological order are in `heads`.
  [[nodiscard]] double time_for(int k);

  /// How many third phases of the rank's i-th stage must have ended before pass k: without them the
  /// rank is too full even when all its other stages have freed what they can.
  [[nodiscard]] int thirds_needed(std::size_t i, int k) const;

 private:
  /// How many second and third phases of a stage have ended.
  struct Ended {
    int second = 0;
    int third = 0;
  };
  /// What is known of a stage of the rank when pass k starts.
  struct Hosted {
    int stage;
    const TimedStage* cost;
    std::int64_t unit;          // bytes that a micro-batch in flight holds at least
    bool taken_in;              // pass k needs the stage's k-th first phase, or is it
    bool second_before;         // pass k needs the stage's k-th second phase
    bool second_is_op;          // pass k is a second phase of this stage
    std::array<bool, 3> after;  // [phase]: the k-th needs pass k, or is it
  };

  /// At most so many passes of a phase can have ended when pass k starts.
  [[nodiscard]] static int most_ended(const Hosted& hosted, int phase, int k) {
    return hosted.after[static_cast<std::size_t>(phase)] ? k : k + 1;
  }
  [[nodiscard]] double end_of(PhaseOfStage op, int micro_batch) const;
  [[nodiscard]] std::int64_t least_bytes(const Hosted& hosted, Ended ended, int k) const;
  [[nodiscard]] bool has_room(int k) const;
  [[nodiscard]] bool leaves_room(const Hosted& hosted, Ended ended, int k) const;

  const Direction& direction_;
  const Heads& heads_;
  PhaseOfStage op_;
  std::int64_t limit_;  // bytes
  bool keeps_room_;     // Direction::keeps_room_for_first
  std::vector<Hosted> hosted_;
  std::vector<Ended> ended_;  // [hosted] what may have ended by time_
  double time_;
};

}  // namespace halfpipe::schedule
