// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/layout_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "engine/model/model_cost.h"
#include "engine/model/recompute.h"
#include "engine/runtime/planning/throughput.h"
#include "tools/halfpipe/aligned_table.h"

namespace halfpipe::tools {

namespace {

using Json = nlohmann::ordered_json;
using runtime::PlannedLayout;

constexpr double kGibibyte = 1 << 30;

runtime::Throughput throughput_of(const LayoutReport& report, const PlannedLayout& planned) {
  return runtime::throughput_of(report.config, report.num_ranks, planned.step_seconds());
}

std::string gibibytes(std::int64_t bytes) {
  return fmt::format("{:.2f}", static_cast<double>(bytes) / kGibibyte);
}

std::string schedule_text(const runtime::Layout& layout) {
  return layout.schedule == "interleaved"
             ? fmt::format("{} x{}", layout.schedule, layout.num_chunks)
             : layout.schedule;
}

std::vector<std::string> row_of(const LayoutReport& report,
                                const PlannedLayout& planned,
                                std::string place) {
  const runtime::Layout& layout = planned.layout;
  const runtime::RankMemory& memory = planned.memory;
  const runtime::Throughput throughput = throughput_of(report, planned);
  return {std::move(place),
          fmt::to_string(layout.data),
          fmt::to_string(layout.tensor),
          fmt::to_string(layout.pipeline),
          fmt::to_string(layout.micro_batch_size),
          schedule_text(layout),
          std::string(model::name_of(layout.recompute)),
          layout.data > 1 ? fmt::to_string(layout.zero_stage) : "",
          layout.tensor > 1 ? layout.gather_again ? "again" : "once" : "",
          fmt::format("{:.0f}", throughput.tokens_per_second),
          fmt::format("{:.1f}%", 100.0 * throughput.known_mfu()),
          fmt::format("{:.4f}", planned.step_seconds()),
          fmt::format("{:.2f}%", 100.0 * planned.bubble_fraction),
          fmt::format("{:.4f}", planned.outside.exchange),
          gibibytes(memory.total()),
          gibibytes(memory.parameters),
          gibibytes(memory.gradients),
          gibibytes(memory.optimizer),
          gibibytes(memory.activations_arena),
          gibibytes(memory.communication + memory.workspace + memory.batch)};
}

bool is_among(const std::vector<PlannedLayout>& best, const PlannedLayout& one) {
  return std::ranges::any_of(best, [&](const PlannedLayout& other) {
    return other.layout.schedule == one.layout.schedule;
  });
}

Json layout_object(const LayoutReport& report, const PlannedLayout& planned) {
  const runtime::Layout& layout = planned.layout;
  const runtime::RankMemory& memory = planned.memory;
  const runtime::Throughput throughput = throughput_of(report, planned);
  return {{"data", layout.data},
          {"tensor", layout.tensor},
          {"pipeline", layout.pipeline},
          {"micro_batch_size", layout.micro_batch_size},
          {"schedule", layout.schedule},
          {"num_chunks", layout.num_chunks},
          {"recompute", std::string(model::name_of(layout.recompute))},
          {"zero_stage", layout.zero_stage},
          {"gather_again", layout.gather_again},
          {"tokens_per_second", throughput.tokens_per_second},
          {"mfu", throughput.known_mfu()},
          {"step_seconds", planned.step_seconds()},
          {"makespan", planned.makespan},
          {"bubble", planned.bubble_fraction},
          {"tied_gradient_seconds", planned.outside.tied_gradient},
          {"exchange_seconds", planned.outside.exchange},
          {"shared_gradient_seconds", planned.outside.shared_gradients},
          {"update_seconds", planned.outside.update},
          {"fullest_rank", planned.fullest_rank},
          {"memory",
           {{"parameters", memory.parameters},
            {"gradients", memory.gradients},
            {"optimizer", memory.optimizer},
            {"activations_arena", memory.activations_arena},
            {"messages", memory.communication},
            {"workspace", memory.workspace},
            {"batch", memory.batch},
            {"total", memory.total()}}}};
}

Json layout_objects(const LayoutReport& report, const std::vector<PlannedLayout>& layouts) {
  Json objects = Json::array();
  for (const PlannedLayout& planned : layouts) objects.push_back(layout_object(report, planned));
  return objects;
}

}  // namespace

std::string layout_text(const runtime::Layout& layout) {
  return fmt::format(
      "data {} x tensor {} x pipeline {}, micro-batches of {}, {}, recompute {}{}{}", layout.data,
      layout.tensor, layout.pipeline, layout.micro_batch_size, schedule_text(layout),
      model::name_of(layout.recompute),
      layout.data > 1 ? fmt::format(", zero_stage {}", layout.zero_stage) : "",
      layout.tensor > 1 ? fmt::format(", gather_again {}", layout.gather_again) : "");
}

std::string layout_table(const LayoutReport& report) {
  const config::RunConfig& config = report.config;
  const runtime::LayoutSearchResult& found = report.found;
  std::vector<std::vector<std::string>> rows;
  for (const PlannedLayout& planned : found.best) {
    rows.push_back(row_of(report, planned, fmt::to_string(rows.size() + 1)));
  }
  for (const PlannedLayout& planned : found.best_of_schedule) {
    if (!is_among(found.best, planned)) rows.push_back(row_of(report, planned, "*"));
  }
  const std::int64_t looked_at = found.num_layouts - found.num_passed_over;
  return fmt::format(
             "{} devices ({}), {} GiB each; {:.4g} M parameters, {} sequences of {} tokens a "
             "step\n",
             report.num_ranks, config.device.profile->name, gibibytes(report.memory_per_rank),
             1e-6 * static_cast<double>(model::num_parameters(config.model)),
             config.train.global_batch_size, config.model.seq_len) +
         aligned_table({"",           "data",      "tensor",    "pipeline",    "micro-batch",
                        "schedule",   "recompute", "zero",      "gather",      "tok/s",
                        "MFU",        "step s",    "bubble",    "exchange s",  "GiB",
                        "parameters", "gradients", "optimizer", "activations", "other"},
                       rows, {5, 6}) +
         fmt::format(
             "  *: the best of its schedule; zero: optimizer.zero_stage; gather: again with "
             "parallel.gather_again, else once; bubble: by span; exchange: of gradients between "
             "replicas, after the passes; GiB: of the fullest rank, other: messages, workspace, "
             "batch\n"
             "  {} layouts: {} passed over, since a bound of their time is above these; {} looked "
             "at, {} of them fit; {:.2f} s\n"
             "  modelled: passes, messages, exchange and optimizer step take the time of the "
             "hardware profile\n",
             found.num_layouts, found.num_passed_over, looked_at, looked_at - found.num_too_large,
             report.seconds);
}

std::string layout_json(const LayoutReport& report) {
  const runtime::LayoutSearchResult& found = report.found;
  const Json json = {{"ranks", report.num_ranks},
                     {"hardware", report.config.device.profile->name},
                     {"memory_per_rank", report.memory_per_rank},
                     {"layouts", found.num_layouts},
                     {"passed_over", found.num_passed_over},
                     {"too_large", found.num_too_large},
                     {"seconds", report.seconds},
                     {"best", layout_objects(report, found.best)},
                     {"best_of_schedule", layout_objects(report, found.best_of_schedule)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace halfpipe::tools
