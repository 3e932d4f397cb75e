// SPDX-License-Identifier: Apache-2.0
// The one sum over all ranks of a step: what each found out, known to all.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/device/stream.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// What a rank brings beside the squares of its gradients.
struct RankShare {
  double loss = 0.0;  // sum over the tokens of its replica, where the last stage is
  bool stop_requested = false;
  double span = 0.0;      // seconds from first to last pass
  double busy = 0.0;      // seconds spent in passes
  double exchange = 0.0;  // seconds that its gradients were on their way to replicas after that
  double gather = 0.0;    // seconds that parameters were, in the step before
};

struct StepTotals {
  double loss;  // sum over all ranks
  double norm;  // of the gradients
  bool stop_requested;
  // The longest of any rank.
  double span;
  double busy;
  double exchange;
  double gather;
};

class StepSums {
 public:
  /// `world` must outlive this.
  StepSums(std::size_t num_parameters, transport::Transport& world);
  /// Gives up what is under way: the rank fails.
  ~StepSums();
  StepSums(const StepSums&) = delete;
  StepSums& operator=(const StepSums&) = delete;

  /// Of the parameters of the model, by global index, to be filled for sum(): each by one rank.
  [[nodiscard]] std::span<double> squares() { return {sums_.data(), num_parameters_}; }
  /// All zero, before they are filled.
  void clear();
  /// Collective; the same on every rank.
  [[nodiscard]] StepTotals sum(const RankShare& mine);

  /// The same in two halves: start() sends what sum() would, and finish() waits for all of it.
  /// squares() stay untouched in between. `stream`: idle, or behind work that is waited for.
  void start(const RankShare& mine, device::Stream& stream);
  /// Whether everything has come and gone. Does not wait.
  [[nodiscard]] bool has_arrived(device::Stream& stream);
  [[nodiscard]] StepTotals finish(device::Stream& stream);

 private:
  void fill(const RankShare& mine);
  /// Of sums over all ranks.
  [[nodiscard]] StepTotals totals_of(std::span<const double> sums) const;

  std::size_t num_parameters_;
  transport::Transport& world_;
  // Squares, loss, stop, then some for each rank. Entries that a rank does not own are zero, and
  // x + 0 is exact, so the sum is a gather: each value arrives with the bits that its owner
  // computed.
  std::vector<double> sums_;
  std::vector<std::vector<double>> received_;  // [ranks]; empty before the first start()
  std::vector<transport::Request> sends_;
  std::vector<transport::Request> receives_;  // still to be waited for
};

}  // namespace halfpipe::runtime
