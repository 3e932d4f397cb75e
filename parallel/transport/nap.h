// SPDX-License-Identifier: Apache-2.0
// Pauses between two looks at something that another process changes without telling.
#pragma once

namespace halfpipe::transport {

/// Pauses that grow: first it spins or yields, so that a quick answer is met quickly, then it
/// sleeps from 5 us up to longest_us, so that a waiting rank leaves its core to those that compute.
class Nap {
 public:
  /// spin_first: each rank of this host has a core of its own.
  explicit Nap(bool spin_first, double longest_us = 150.0);
  void pause();
  /// Something happened: the next pauses are short again.
  void reset();

 private:
  bool spin_first_;
  int num_pauses_ = 0;
  double longest_us_;
  double sleep_us_;
};

/// True when the ranks of this host do not outnumber its cores.
[[nodiscard]] bool cores_suffice(int ranks_on_this_host);

}  // namespace halfpipe::transport
