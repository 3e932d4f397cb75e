// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/bound_room.h"

#include <algorithm>
#include <limits>

namespace halfpipe::schedule {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kAll = std::numeric_limits<int>::max();

}  // namespace

RoomOfPhase::RoomOfPhase(const Direction& direction, const Heads& heads, PhaseOfStage op)
    : direction_(direction), heads_(heads), op_(op) {
  const int rank = direction.stage(op.stage).rank;
  limit_ = direction.memory_limit(rank);
  keeps_room_ = direction.keeps_room_for_first(rank);
  time_ = direction.rank_start(rank);
  for (const int stage : direction.hosted(rank)) {
    const TimedStage& cost = direction.stage(stage);
    const PhaseOfStage first{0, stage};
    const PhaseOfStage second{1, stage};
    Hosted hosted{stage,
                  &cost,
                  std::min(cost.bytes_after_first(), cost.bytes_after_second()),
                  first == op || direction.precedes(first, op),
                  direction.precedes(second, op),
                  second == op,
                  {}};
    for (int phase = 0; phase < 3; ++phase) {
      const PhaseOfStage other{phase, stage};
      hosted.after[static_cast<std::size_t>(phase)] = other == op || direction.precedes(op, other);
    }
    hosted_.push_back(hosted);
  }
  ended_.resize(hosted_.size());
}

double RoomOfPhase::end_of(PhaseOfStage op, int micro_batch) const {
  const std::vector<double>& starts = heads_.of(op);
  const auto index = static_cast<std::size_t>(micro_batch);
  if (index >= starts.size()) return kNever;
  return starts[index] + direction_.stage(op.stage).seconds[static_cast<std::size_t>(op.phase)];
}

double RoomOfPhase::time_for(int k) {
  while (!has_room(k)) {
    double next = kNever;
    for (std::size_t i = 0; i < hosted_.size(); ++i) {
      next = std::min({next, end_of({1, hosted_[i].stage}, ended_[i].second),
                       end_of({2, hosted_[i].stage}, ended_[i].third)});
    }
    if (next == kNever) return kNever;  // not with the smallest memory limit or more
    for (std::size_t i = 0; i < hosted_.size(); ++i) {
      while (end_of({1, hosted_[i].stage}, ended_[i].second) <= next) ++ended_[i].second;
      while (end_of({2, hosted_[i].stage}, ended_[i].third) <= next) ++ended_[i].third;
    }
    time_ = next;
  }
  return time_;
}

/// Of a stage while pass k runs; at most `ended` have ended. Micro-batches that pass k does not ask
/// for are left out, but room for the first one that has to pass is counted.
std::int64_t RoomOfPhase::least_bytes(const Hosted& hosted, Ended ended, int k) const {
  const TimedStage& cost = *hosted.cost;
  const int kept = keeps_room_ ? 1 : 0;
  const int num_first = hosted.taken_in ? k + 1 : kept;
  const int third = std::min({ended.third, most_ended(hosted, 2, k), num_first});
  int num_second = third;  // at least
  if (hosted.second_is_op) num_second = k;
  if (hosted.second_before) num_second = k + 1;
  if (cost.first_to_second_bytes >= cost.second_to_third_bytes) {
    num_second =
        std::max(num_second, std::min({ended.second, most_ended(hosted, 1, k), num_first}));
  }
  const int second_started = hosted.second_is_op ? k + 1 : num_second;
  return (num_first - num_second) * cost.first_to_second_bytes +
         (num_first - third) * cost.first_to_third_bytes +
         (second_started - third) * cost.second_to_third_bytes;
}

bool RoomOfPhase::has_room(int k) const {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < hosted_.size(); ++i) bytes += least_bytes(hosted_[i], ended_[i], k);
  if (bytes > limit_) return false;
  if (op_.phase != 0 || !keeps_room_) return true;
  for (std::size_t i = 0; i < hosted_.size(); ++i) {
    if (!hosted_[i].taken_in && !leaves_room(hosted_[i], ended_[i], k)) return false;
  }
  return true;
}

/// Whether micro-batch j, the first that has not ended its third phase on `hosted`, can still pass
/// there after pass k. What other stages have in flight of micro-batches from j on stays in flight
/// until then (the argument of Direction::keeps_room_for_first, for j in place of 0).
bool RoomOfPhase::leaves_room(const Hosted& hosted, Ended ended, int k) const {
  const int j = std::min(ended.third, most_ended(hosted, 2, k));
  std::int64_t bytes = hosted.unit;
  for (std::size_t i = 0; i < hosted_.size(); ++i) {
    if (!hosted_[i].taken_in) continue;
    const int third = std::min(ended_[i].third, most_ended(hosted_[i], 2, k));
    bytes += std::max(0, k + 1 - std::max(third, j)) * hosted_[i].unit;
  }
  return bytes <= limit_;
}

int RoomOfPhase::thirds_needed(std::size_t i, int k) const {
  const Hosted& hosted = hosted_[i];
  if (op_.phase == 2 || hosted.unit == 0 || !hosted.taken_in) return 0;
  std::int64_t room = limit_;
  for (std::size_t other = 0; other < hosted_.size(); ++other) {
    if (other != i) room -= least_bytes(hosted_[other], {kAll, kAll}, k);
  }
  const auto in_flight = static_cast<int>(std::min<std::int64_t>(room / hosted.unit, k + 1));
  return std::min(k + 1 - in_flight, most_ended(hosted, 2, k));
}

}  // namespace halfpipe::schedule
