// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/config/key_table.h"
#include "engine/model/model_cost.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/stage_costs.h"
#include "tools/halfpipe/planned_step.h"
#include "tools/halfpipe/schedule_json.h"

namespace halfpipe::tools {

namespace {

using Json = nlohmann::ordered_json;

/// As `halfpipe schedule --json` writes it, so that its readers read this, too.
Json schedule_object(const PlannedStep& step) {
  const bool has_bytes = true;
  const double made_in_seconds = 0.0;
  const MadeSchedule made{runtime::orders_of(step.job.training),
                          step.costs,
                          has_bytes,
                          step.timeline,
                          made_in_seconds,
                          std::nullopt};
  return Json::parse(schedule_json(made));
}

Json configuration(const config::RunConfig& config) {
  Json values = Json::object();
  for (const config::Key& key : config::key_table()) {
    if (!key.applies || key.applies(config)) values[key.doc.path] = key.write(config);
  }
  return values;
}

Json stage_map(const runtime::Job& job) {
  Json stages = Json::array();
  for (const model::StageLayers& layers : job.stage_map) {
    stages.push_back({{"stage", layers.stage},
                      {"rank", job.placement.rank_of(layers.stage)},
                      {"chunk", job.placement.chunk_of(layers.stage)},
                      {"first_block", layers.first_block},
                      {"num_blocks", layers.num_blocks},
                      {"embedding", layers.has_embedding},
                      {"head", layers.has_head}});
  }
  return stages;
}

Json search(const runtime::Job& job) {
  if (!job.search) return nullptr;
  const runtime::ScheduleSearch& search = *job.search;
  return {{"objective", job.config.schedule.objective},
          {"memory_limit", search.memory_limit},
          {"cost", search.cost},
          {"textbook_cost", search.textbook_cost ? Json(*search.textbook_cost) : Json(nullptr)},
          {"lower_bound", search.lower_bound},
          {"reason", search.reason},
          {"stages_bound", search.stages_bound},
          {"stages_reason", search.stages_reason},
          {"seconds", search.search_seconds}};
}

Json memory(const PlannedStep& step) {
  const std::vector<std::int64_t> without_head = runtime::plan_activations_without_head(step.job);
  Json ranks = Json::array();
  for (std::size_t rank = 0; rank < step.memory.size(); ++rank) {
    const runtime::RankMemory& m = step.memory[rank];
    ranks.push_back({{"rank", rank},
                     {"parameters", m.parameters},
                     {"gradients", m.gradients},
                     {"optimizer", m.optimizer},
                     {"activations", m.activations},
                     {"activations_without_head", without_head[rank]},
                     {"activations_arena", m.activations_arena},
                     {"messages", m.communication},
                     {"workspace", m.workspace},
                     {"batch", m.batch},
                     {"checkpoint_copy", m.checkpoint_copy},
                     {"total", m.total()}});
  }
  return ranks;
}

Json messages(const PlannedStep& step) {
  Json links = Json::array();
  std::int64_t bytes = 0;
  for (const LinkVolume& link : step.messages) {
    bytes += link.bytes;
    links.push_back({{"from_rank", link.from_rank},
                     {"to_rank", link.to_rank},
                     {"activations", link.activations},
                     {"gradients", link.gradients},
                     {"bytes", link.bytes}});
  }
  return {{"bytes_each", step.job.training.message_bytes},
          {"count", step.job.training.messages.size()},
          {"bytes", bytes},
          {"tied_gradient_bytes", tied_gradient_bytes(step.job)},
          {"links", std::move(links)}};
}

Json step_time(const PlannedStep& step) {
  Json time = {{"block_forwards", nullptr},   {"flops_per_block_forward", nullptr},
               {"flops_per_second", nullptr}, {"seconds", nullptr},
               {"outside_passes", nullptr},   {"tokens_per_second", nullptr}};
  if (!runtime::costs_are_seconds(step.job.config)) {
    time["block_forwards"] = step.timeline.makespan / step.scale();
    time["flops_per_block_forward"] = step.flops_per_unit;
  }
  if (!step.in_seconds()) return time;
  const config::RunConfig& config = step.job.config;
  if (step.flops_per_second) time["flops_per_second"] = *step.flops_per_second;
  time["seconds"] = step.timeline.makespan;
  if (runtime::costs_are_seconds(config)) time["outside_passes"] = step.outside.total();
  time["tokens_per_second"] = static_cast<double>(config.tokens_per_step()) / step.step_time();
  return time;
}

}  // namespace

std::string planned_step_json(const PlannedStep& step) {
  const runtime::Job& job = step.job;
  Json json = schedule_object(step);
  Json rows = std::move(json.at("rows"));
  json.erase("rows");  // the longest comes last
  json["time_unit"] = step.in_seconds() ? "seconds" : "block_forwards";
  json["configuration"] = configuration(job.config);
  json["device"] = {{"kind", job.config.device.kind}};
  if (is_modelled(job.config.device)) {
    json["device"]["hardware"] = job.config.device.profile->name;
  } else {
    json["device"]["threads_per_rank"] = step.threads_per_rank;
  }
  json["model"] = {{"num_parameters", model::num_parameters(job.config.model)},
                   {"flops_per_token", model::model_flops_per_token(job.config.model)}};
  json["stage_map"] = stage_map(job);
  json["search"] = search(job);
  json["memory"] = memory(step);
  const std::string shortage = runtime::memory_shortage(job.config, step.memory);
  json["memory_shortage"] = shortage.empty() ? Json(nullptr) : Json(shortage);
  json["messages"] = messages(step);
  json["step"] = step_time(step);
  json["rows"] = std::move(rows);
  // Names of files need not be UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace halfpipe::tools
