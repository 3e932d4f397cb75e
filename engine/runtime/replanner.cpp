// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/replanner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/runtime/measured_costs.h"
#include "engine/runtime/median.h"
#include "engine/runtime/planning/replan.h"

namespace halfpipe::runtime {

namespace {

constexpr double kMilli = 1e3;

/// "  stage 3   F 1.20  B 1.31  W 1.02 ms", a line for each stage, and the messages.
std::string cost_lines(const schedule::CostModel& costs, const schedule::Plan& plan) {
  std::string text;
  for (std::size_t stage = 0; stage < costs.stages.size(); ++stage) {
    const schedule::StageCost& cost = costs.stages[stage];
    text += fmt::format("  stage {:<3} F {:>9.3f}  B {:>9.3f}  W {:>9.3f} ms\n", stage,
                        kMilli * cost.forward_seconds, kMilli * cost.backward_input_seconds,
                        kMilli * cost.backward_weight_seconds);
  }
  double least = 0.0;
  double most = 0.0;
  for (const schedule::Message& message : plan.messages) {
    const double seconds = costs.message_seconds_between(message.src_rank, message.dst_rank);
    least = most == 0.0 ? seconds : std::min(least, seconds);
    most = std::max(most, seconds);
  }
  if (most > 0.0) {
    text += fmt::format("  messages  {:.3f} to {:.3f} ms\n", kMilli * least, kMilli * most);
  }
  return text;
}

}  // namespace

Replanner::Replanner(Job& job,
                     PipelineTrainer& trainer,
                     transport::Transport& messages,
                     transport::Transport& world)
    : job_(job),
      trainer_(trainer),
      messages_(messages),
      world_(world),
      times_(job.training.ranks[static_cast<std::size_t>(messages.rank())],
             job.placement.num_chunks()) {}

std::string Replanner::after_step(const StepResult& step) {
  changed_plan_ = false;
  const std::int64_t wanted = job_.config.schedule.replan_after;
  ++steps_seen_;
  // The first step touches memory for the first time, before and after a change.
  const bool is_first = steps_seen_ == 1 || steps_seen_ == wanted + 1;
  if (!is_first || wanted == 1) spans_.push_back(step.span_seconds);
  if (steps_seen_ <= wanted && (!is_first || wanted == 1)) {
    times_.add(trainer_.instruction_times());
  }
  if (steps_seen_ == wanted) return replan_now();
  if (steps_seen_ == 2 * wanted && expected_span_ > 0.0) return compare_with_expectation();
  return {};
}

bool Replanner::is_done() const {
  const std::int64_t wanted = job_.config.schedule.replan_after;
  return steps_seen_ >= (expected_span_ > 0.0 ? 2 * wanted : wanted);
}

std::string Replanner::replan_now() {
  const schedule::CostModel costs =
      mean_costs(measure_costs(job_, times_, trainer_.backend(), messages_), world_);
  const double measured_span = median_of(std::exchange(spans_, {}));
  ReplanResult result = replan(job_, costs, world_);
  std::string text =
      fmt::format("replan after {} steps: medians of their passes\n{}", steps_seen_,
                  cost_lines(costs, job_.training)) +
      fmt::format("  present orders: span {:.3f} ms by these, {:.3f} ms measured; bubble {:.1f}%\n",
                  kMilli * result.before.span, kMilli * measured_span,
                  100.0 * result.before.bubble_fraction);
  if (!result.plan) {
    return text + fmt::format("  they stay: a search of {:.2f} s found none 0.5% better",
                              result.search_seconds);
  }
  expected_span_ = result.expected->span;
  text += fmt::format(
      "  new orders: span {:.3f} ms expected ({:+.1f}%), bubble {:.1f}%; found in {:.2f} s",
      kMilli * expected_span_, 100.0 * (expected_span_ / result.before.span - 1.0),
      100.0 * result.expected->bubble_fraction, result.search_seconds);
  job_.training = std::move(*result.plan);
  job_.costs = costs;
  trainer_.take_new_plan();
  changed_plan_ = true;
  return text;
}

std::string Replanner::compare_with_expectation() const {
  const double measured = median_of(spans_);
  return fmt::format("replanned steps: span {:.3f} ms measured, {:.3f} ms expected ({:+.1f}%)",
                     kMilli * measured, kMilli * expected_span_,
                     100.0 * (measured / expected_span_ - 1.0));
}

}  // namespace halfpipe::runtime
