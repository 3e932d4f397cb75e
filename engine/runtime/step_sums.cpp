// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step_sums.h"

#include <algorithm>
#include <array>
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

void StepSums::clear() {
  std::ranges::fill(sums_, 0.0);
}

StepTotals StepSums::sum(const RankShare& mine) {
  double& loss = sums_[num_parameters_];
  double& stop = sums_[num_parameters_ + 1];
  const std::span of_ranks(sums_.data() + num_parameters_ + 2, sums_.data() + sums_.size());
  loss = mine.loss;
  stop = mine.stop_requested ? 1.0 : 0.0;
  for (std::size_t i = 0; i < kOfEachRank.size(); ++i) {
    of_ranks[static_cast<std::size_t>(world_.rank()) * kOfEachRank.size() + i] =
        mine.*kOfEachRank[i];
  }
  world_.all_reduce_sum(sums_);

  RankShare longest;
  for (std::size_t at = 0; at < of_ranks.size(); ++at) {
    double& most = longest.*kOfEachRank[at % kOfEachRank.size()];
    most = std::max(most, of_ranks[at]);
  }
  double squares = 0.0;
  for (const double square : this->squares()) squares += square;
  return {.loss = loss,
          .norm = std::sqrt(squares),
          .stop_requested = stop > 0.0,
          .span = longest.span,
          .busy = longest.busy,
          .exchange = longest.exchange,
          .gather = longest.gather};
}

}  // namespace halfpipe::runtime
