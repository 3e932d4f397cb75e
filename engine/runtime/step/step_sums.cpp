// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/step_sums.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

namespace halfpipe::runtime {
namespace {

constexpr std::array kOfEachRank{&RankShare::span, &RankShare::busy, &RankShare::exchange,
                                 &RankShare::gather};

}  // namespace

StepSums::StepSums(std::size_t num_parameters, transport::Transport& world)
    : num_parameters_(num_parameters),
      world_(world),
      sums_(num_parameters + 2 +
            kOfEachRank.size() * static_cast<std::size_t>(world.world_size())) {}

StepSums::~StepSums() {
  if (!receives_.empty() || !sends_.empty()) world_.give_up_messages();
}

void StepSums::clear() {
  std::ranges::fill(sums_, 0.0);
}

void StepSums::fill(const RankShare& mine) {
  sums_[num_parameters_] = mine.loss;
  sums_[num_parameters_ + 1] = mine.stop_requested ? 1.0 : 0.0;
  const std::span of_ranks = std::span(sums_).subspan(num_parameters_ + 2);
  for (std::size_t i = 0; i < kOfEachRank.size(); ++i) {
    of_ranks[static_cast<std::size_t>(world_.rank()) * kOfEachRank.size() + i] =
        mine.*kOfEachRank[i];
  }
}

StepTotals StepSums::sum(const RankShare& mine) {
  fill(mine);
  world_.all_reduce_sum(sums_);
  return totals_of(sums_);
}

void StepSums::start(const RankShare& mine, device::Stream& stream) {
  fill(mine);
  received_.resize(static_cast<std::size_t>(world_.world_size()));
  for (int rank = 0; rank < world_.world_size(); ++rank) {
    if (rank == world_.rank()) continue;
    std::vector<double>& theirs = received_[static_cast<std::size_t>(rank)];
    theirs.resize(sums_.size());
    receives_.push_back(world_.post_recv(std::as_writable_bytes(std::span(theirs)), rank, stream));
    sends_.push_back(world_.send(std::as_bytes(std::span(sums_)), rank, stream));
  }
}

bool StepSums::has_arrived(device::Stream& stream) {
  const std::chrono::steady_clock::time_point only_look{};
  for (auto* const requests : {&receives_, &sends_}) {
    while (!requests->empty()) {
      if (!world_.wait_until(requests->back(), stream, only_look)) return false;
      requests->pop_back();
    }
  }
  return true;
}

StepTotals StepSums::finish(device::Stream& stream) {
  for (const transport::Request request : receives_) world_.wait(request, stream);
  for (const transport::Request request : sends_) world_.wait(request, stream);
  receives_.clear();
  sends_.clear();
  received_[static_cast<std::size_t>(world_.rank())] = sums_;
  // In the order of the ranks, as all_reduce_sum.
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    double sum = received_[0][i];
    for (std::size_t rank = 1; rank < received_.size(); ++rank) sum += received_[rank][i];
    sums_[i] = sum;
  }
  return totals_of(sums_);
}

StepTotals StepSums::totals_of(std::span<const double> sums) const {
  const std::span of_ranks = sums.subspan(num_parameters_ + 2);
  RankShare longest;
  for (std::size_t at = 0; at < of_ranks.size(); ++at) {
    double& most = longest.*kOfEachRank[at % kOfEachRank.size()];
    most = std::max(most, of_ranks[at]);
  }
  double squares = 0.0;
  for (const double square : sums.first(num_parameters_)) squares += square;
  return {.loss = sums[num_parameters_],
          .norm = std::sqrt(squares),
          .stop_requested = sums[num_parameters_ + 1] > 0.0,
          .span = longest.span,
          .busy = longest.busy,
          .exchange = longest.exchange,
          .gather = longest.gather};
}

}  // namespace halfpipe::runtime
