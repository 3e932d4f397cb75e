// SPDX-License-Identifier: Apache-2.0
// Pauses between two looks at something that another process changes, maybe without telling.
#pragma once

#include <cstdint>

namespace halfpipe::transport {

/// Pauses that grow: first it spins or yields, so that a quick answer is met quickly, then it
/// sleeps, 5 us at first, so that a waiting rank leaves its core to those that compute. A sleep is
/// at most 200 us or 2% of the time waited so far, and never over 1 ms.
class Nap {
 public:
  enum class Until : std::uint8_t {
    kLooked,  // nobody tells: looking is all
    kRung,    // a doorbell will ring: the first sleep is as long as the last
  };
  /// spin_first: each rank of this host has a core of its own.
  explicit Nap(bool spin_first, Until until = Until::kLooked);
  void pause();
  /// The same for a caller that sleeps by itself: spins, yields, or says how long to sleep (us).
  [[nodiscard]] double next_sleep_us();

 private:
  bool spin_first_;
  int num_pauses_ = 0;
  double sleep_us_;
};

/// Sleeps about as long as asked, without the 50 us that Linux adds by default.
void sleep_us(double microseconds);
/// From now on this thread wakes up on time.
void sleep_exactly();

/// True when the ranks of this host do not outnumber its cores.
[[nodiscard]] bool cores_suffice(int ranks_on_this_host);

}  // namespace halfpipe::transport
