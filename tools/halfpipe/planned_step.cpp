// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/planned_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "engine/model/model_cost.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/stage_costs.h"
#include "engine/runtime/planning/throughput.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/training/start_report.h"
#include "parallel/schedule/render_ascii.h"

namespace halfpipe::tools {

namespace {

constexpr int kTimelineColumns = 160;
constexpr double kMebibyte = 1024.0 * 1024.0;

schedule::CostModel scaled(schedule::CostModel costs, double scale) {
  for (schedule::StageCost& stage : costs.stages) {
    stage.forward_seconds *= scale;
    stage.backward_input_seconds *= scale;
    stage.backward_weight_seconds *= scale;
  }
  return costs;
}

double mebibytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / kMebibyte;
}

/// The report of the start names the range only.
std::string limit_lines(const runtime::Job& job) {
  if (!job.search) return "";
  const std::vector<std::int64_t>& limits = job.search->memory_limit;
  if (std::ranges::adjacent_find(limits, std::not_equal_to<>()) == limits.end()) return "";
  std::string text = "limits      of activations by rank, MiB:";
  for (const std::int64_t limit : limits) text += fmt::format(" {:.2f}", mebibytes(limit));
  return text + '\n';
}

std::string message_lines(const PlannedStep& step) {
  std::int64_t bytes = 0;
  for (const LinkVolume& link : step.messages) bytes += link.bytes;
  const schedule::Plan& plan = step.job.training;
  std::string text = fmt::format("messages    {} per step, each of {} B: {:.2f} MiB\n",
                                 plan.messages.size(), plan.message_bytes, mebibytes(bytes));
  for (const LinkVolume& link : step.messages) {
    text += fmt::format("  rank {:<3} -> rank {:<3}{:>9} activations{:>9} gradients{:>12.2f} MiB\n",
                        link.from_rank, link.to_rank, link.activations, link.gradients,
                        mebibytes(link.bytes));
  }
  const std::int64_t tied = tied_gradient_bytes(step.job);
  if (tied == 0) return text;
  return text + fmt::format(
                    "  and the gradient of the tied embedding once each way between ranks "
                    "{} and {}: {:.2f} MiB\n",
                    step.job.placement.rank_of(0),
                    step.job.placement.rank_of(step.job.placement.num_stages() - 1),
                    mebibytes(tied));
}

std::string modelled_time_line(const PlannedStep& step) {
  const config::RunConfig& config = step.job.config;
  const runtime::Throughput throughput = runtime::throughput_of(
      config, runtime::mesh_of(config.parallel).num_ranks(), step.step_time());
  return fmt::format(
      "step time   {:.4g} s from the first pass to the last; {:.4g} s gradients and optimizer "
      "step; "
      "{:.4g} tok/s, {:.4g} per device, MFU {:.1f}%\n"
      "  modelled: {}{}\n",
      step.timeline.makespan, step.outside.total(), throughput.tokens_per_second,
      throughput.tokens_per_second_per_device, 100.0 * throughput.known_mfu(),
      config.device.profile->name,
      config.parallel.data == 1
          ? ""
          : fmt::format("; {:.4g} s of it to exchange gradients between replicas",
                        step.outside.exchange));
}

std::string time_line(const PlannedStep& step) {
  if (runtime::costs_are_seconds(step.job.config)) return modelled_time_line(step);
  std::string text = fmt::format(
      "step time   {:.2f} forward passes of a block ({:.4g} GFLOP each) from the first pass to the "
      "last",
      step.timeline.makespan / step.scale(), 1e-9 * step.flops_per_unit);
  if (step.flops_per_second) {
    text += fmt::format(
        "; at {:.4g} GFLOP/s per rank {:.4g} s, {:.4g} tok/s", 1e-9 * *step.flops_per_second,
        step.timeline.makespan,
        static_cast<double>(step.job.config.tokens_per_step()) / step.timeline.makespan);
  }
  return text +
         "\n  modelled: matrix products only; messages, embedding, normalisations and the "
         "optimizer step take no time\n";
}

}  // namespace

bool PlannedStep::in_seconds() const {
  return flops_per_second || runtime::costs_are_seconds(job.config);
}

std::string PlannedStep::title() const {
  return fmt::format("{}: {} pipeline ranks, {} micro-batches", job.training.schedule_name,
                     job.placement.num_pipeline_ranks(), job.training.num_micro_batches);
}

PlannedStep plan_step(runtime::Job job,
                      std::vector<runtime::RankMemory> memory,
                      int threads_per_rank,
                      std::optional<double> flops_per_second) {
  const double flops_per_unit =
      model::block_flops(job.config.model, job.config.train.micro_batch_size).forward /
      job.config.parallel.tensor;  // each rank has its share
  std::vector<LinkVolume> messages = message_volume(job.training);
  PlannedStep step{std::move(job),
                   threads_per_rank,
                   std::move(memory),
                   std::move(messages),
                   flops_per_unit,
                   flops_per_second,
                   {},
                   {},
                   {}};
  step.costs = scaled(step.job.costs, step.scale());
  step.timeline = schedule::simulate(runtime::orders_of(step.job.training), step.costs);
  if (is_modelled(step.job.config.device)) step.outside = runtime::outside_passes(step.job);
  return step;
}

std::string planned_step_text(const PlannedStep& step) {
  const double seconds_per_column =
      schedule::seconds_per_column_for(step.timeline, kTimelineColumns);
  const std::string shortage = runtime::memory_shortage(step.job.config, step.memory);
  return runtime::start_report(step.job, step.memory, step.threads_per_rank) +
         (shortage.empty() ? "" : "  " + shortage + " MiB\n") + limit_lines(step.job) +
         message_lines(step) + time_line(step) + "timeline\n" +
         schedule::render_ascii(step.timeline, seconds_per_column);
}

}  // namespace halfpipe::tools
