// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/schedule_costs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::tools {

namespace {

/// Bytes of one unit, one micro-batch on 1/ranks of the model: shared out evenly by any small
/// number of chunks.
constexpr std::int64_t kUnitBytes = 27720;

/// A time that the user gave.
struct GivenTime {
  std::string name;
  double given;    // as in the option or the file
  double seconds;  // of one pass or message
  double count;    // in a step
  bool is_pass = true;
};

std::vector<GivenTime> times_of(const ScheduleOptions& options) {
  int num_chunks = 1;
  const auto consider = [&](const std::string& name) {
    num_chunks = std::max(
        num_chunks,
        name == "auto"
            ? kMostSearchedChunks
            : schedule::placement_for(name, options.num_ranks, options.num_chunks).num_chunks());
  };
  consider(options.name);
  for (const std::string& name : options.compare) consider(name);
  const double count =
      static_cast<double>(num_chunks) * options.num_ranks * options.num_micro_batches;
  return {
      {"--forward", options.forward, options.forward / num_chunks, count},
      {"--backward-input", options.backward_input, options.backward_input / num_chunks, count},
      {"--backward-weight", options.backward_weight, options.backward_weight / num_chunks, count},
      {"--comm", options.message, options.message, 2.0 * count, false}};
}

std::vector<GivenTime> times_of(const costs::StageCostsFile& file, int num_micro_batches) {
  std::vector<GivenTime> times;
  for (std::size_t i = 0; i < file.stages.size(); ++i) {
    const schedule::StageCost& stage = file.stages[i];
    const std::string prefix = fmt::format("stages[{}].", i);
    for (const auto& [key, seconds] :
         {std::pair{"forward_seconds", stage.forward_seconds},
          std::pair{"backward_input_seconds", stage.backward_input_seconds},
          std::pair{"backward_weight_seconds", stage.backward_weight_seconds}}) {
      times.push_back({prefix + key, seconds, seconds, static_cast<double>(num_micro_batches)});
    }
  }
  double message = costs::message_seconds(file, file.link);
  for (const costs::LinkOverride& link : file.overrides) {
    message = std::max(message, costs::message_seconds(file, link.cost));
  }
  times.push_back({"a message", message, message,
                   2.0 * num_micro_batches * static_cast<double>(file.stages.size()), false});
  return times;
}

/// A double has some 16 digits. A pass of less than 1e-13 of the whole step would start and end at
/// moments that hardly differ, or at the same one.
void check_that_sums_keep(const std::vector<GivenTime>& times, const std::string& where = "") {
  constexpr double kLeastShare = 1e-13;
  const GivenTime* shortest = nullptr;
  const GivenTime* longest = &times.front();
  double step = 0.0;  // all passes and messages, one after the other
  for (const GivenTime& time : times) {
    step += time.seconds * time.count;
    if (time.seconds > longest->seconds) longest = &time;
    if (time.is_pass && (!shortest || time.seconds < shortest->seconds)) {
      shortest = &time;
    }
  }
  if (!shortest || shortest->seconds >= kLeastShare * step) return;
  throw ConfigError(fmt::format(
      "{}{} ({}) is too short beside {} ({}): a pass must take at least {} of all passes "
      "and messages of a step together, {:.3g}",
      where, shortest->name, shortest->given, longest->name, longest->given, kLeastShare, step));
}

std::int64_t kept_bytes(const schedule::StageCost& stage) {
  return stage.forward_to_backward_input_bytes + stage.forward_to_backward_weight_bytes +
         stage.backward_input_to_backward_weight_bytes;
}

}  // namespace

ScheduleCosts::ScheduleCosts(const ScheduleOptions& options)
    : num_ranks_(options.num_ranks), message_seconds_(options.message), unit_bytes_(kUnitBytes) {
  per_rank_.forward_seconds = options.forward;
  per_rank_.backward_input_seconds = options.backward_input;
  per_rank_.backward_weight_seconds = options.backward_weight;
  if (options.stage_costs.empty()) {
    check_that_sums_keep(times_of(options));
    return;
  }
  file_ = costs::read_stage_costs(options.stage_costs);
  costs::check_bytes(*file_, options.num_micro_batches, "--micro-batches");
  check_that_sums_keep(times_of(*file_, options.num_micro_batches), options.stage_costs + ": ");
  if (!file_->has_bytes) return;
  double kept = 0.0;  // by a micro-batch on the whole model
  for (const schedule::StageCost& stage : file_->stages) {
    kept += static_cast<double>(kept_bytes(stage));
  }
  unit_bytes_ = kept / num_ranks_;
}

bool ScheduleCosts::fit(const schedule::Placement& placement) const {
  return !file_ || file_->stages.size() % static_cast<std::size_t>(placement.num_stages()) == 0;
}

schedule::CostModel ScheduleCosts::on(const schedule::Placement& placement) const {
  const int num_chunks = placement.num_chunks();
  schedule::CostModel model;
  if (file_) {
    model = costs::costs_for(*file_, placement);
  } else {
    model = schedule::uniform_costs(placement.num_stages());
    model.message_seconds = message_seconds_;
    for (schedule::StageCost& stage : model.stages) {
      stage.forward_seconds = per_rank_.forward_seconds / num_chunks;
      stage.backward_input_seconds = per_rank_.backward_input_seconds / num_chunks;
      stage.backward_weight_seconds = per_rank_.backward_weight_seconds / num_chunks;
    }
  }
  if (have_bytes()) return model;
  for (schedule::StageCost& stage : model.stages) {
    stage.forward_to_backward_weight_bytes = kUnitBytes / num_chunks;
  }
  return model;
}

}  // namespace halfpipe::tools
