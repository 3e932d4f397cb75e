// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/enumerate_blocks.h"

#include <algorithm>
#include <cstddef>
#include <tuple>

namespace halfpipe::schedule {
namespace {

constexpr int kInterval = 2 * kNumPasses;
constexpr int kMostSlots = kInterval;  // of a hop or turn

/// Starts of the four passes of rank 0 and how far each moves from rank to rank: zigzag_block for
/// two chunks in closed form, because most of the 6^7 candidates fall at one of the first ranks.
struct VCourse {
  int start;  // on rank 0
  int step;   // negative on the way up
};

struct VCourses {
  VCourse forward_down, forward_up, backward_down, backward_up;
};

VCourses courses_of(const ZigzagTravel& travel, int p) {
  const int bottom = p - 1;
  const auto& [forward, forward_turns, turn, backward, backward_turns] = travel;
  const int last_forward = (forward[0] + forward[1]) * bottom + forward_turns[0];
  const int first_backward = last_forward + turn;
  const int last_backward =
      first_backward + (backward[1] + backward[0]) * bottom + backward_turns[0];
  return {{0, forward[0]},
          {last_forward, -forward[1]},
          {first_backward, backward[1]},
          {last_backward, -backward[0]}};
}

bool repeats_without_collision(const VCourses& courses, int p) {
  for (int rank = 0; rank < p; ++rank) {
    unsigned taken = 0;
    for (const VCourse& course :
         {courses.forward_down, courses.forward_up, courses.backward_down, courses.backward_up}) {
      const unsigned bit =
          1U << static_cast<unsigned>((course.start + rank * course.step) % kInterval);
      if ((taken & bit) != 0) return false;
      taken |= bit;
    }
  }
  return true;
}

/// Lifespan, from F to B of both chunks, on the end of the pipeline where it is longer: it changes
/// by the same number of slots from rank to rank.
int lifespan_without_weight_passes(const VCourses& c, int p) {
  const int first_rank =
      c.backward_up.start - c.forward_down.start + c.backward_down.start - c.forward_up.start + 2;
  const int step =
      c.backward_up.step - c.forward_down.step + c.backward_down.step - c.forward_up.step;
  return std::max(first_rank, first_rank + (p - 1) * step);
}

class Enumeration {
 public:
  Enumeration(int num_pipeline_ranks, int max_in_flight)
      : p_(num_pipeline_ranks),
        max_in_flight_(max_in_flight),
        most_hop_slots_(num_pipeline_ranks > 1 ? kMostSlots : 1) {}

  std::vector<VBlock> run() {
    for (int down = 1; down <= most_hop_slots_; ++down) {
      for (int up = 1; up <= most_hop_slots_; ++up) {
        for (int back_down = 1; back_down <= most_hop_slots_; ++back_down) {
          for (int back_up = 1; back_up <= most_hop_slots_; ++back_up) {
            add_turns({{down, up}, {1}, 1, {back_up, back_down}, {1}});
          }
        }
      }
    }
    std::sort(found_.begin(), found_.end(), [](const VBlock& a, const VBlock& b) {
      return std::tie(a.lifespan, a.trip_slots, a.travel) <
             std::tie(b.lifespan, b.trip_slots, b.travel);
    });
    return std::move(found_);
  }

 private:
  void add_turns(ZigzagTravel travel) {
    for (int& turn = travel.forward_turns[0]; turn <= kMostSlots; ++turn) {
      travel.turn_to_backward = 1;
      for (; travel.turn_to_backward <= kMostSlots; ++travel.turn_to_backward) {
        travel.backward_turns[0] = 1;
        for (int& back_turn = travel.backward_turns[0]; back_turn <= kMostSlots; ++back_turn) {
          add_if_it_fits(travel);
        }
      }
    }
  }

  void add_if_it_fits(const ZigzagTravel& travel) {
    const VCourses courses = courses_of(travel, p_);
    // A mean above the limit needs a peak above it.
    if (lifespan_without_weight_passes(courses, p_) > kInterval * max_in_flight_) return;
    if (!repeats_without_collision(courses, p_)) return;
    const BuildingBlock block = with_weight_passes(zigzag_block("", p_, travel));
    const int peak = predicted_peak(block);
    if (peak > max_in_flight_) return;
    int longest = 0;
    for (int rank = 0; rank < p_; ++rank) longest = std::max(longest, lifespan(block, rank));
    found_.push_back({travel, peak, longest, courses.backward_up.start + 1});
  }

  int p_;
  int max_in_flight_;
  int most_hop_slots_;  // one rank has no hops, and all their speeds are one block
  std::vector<VBlock> found_;
};

}  // namespace

std::vector<VBlock> enumerate_v_blocks(int num_pipeline_ranks, int max_in_flight) {
  return Enumeration(num_pipeline_ranks, max_in_flight).run();
}

}  // namespace halfpipe::schedule
