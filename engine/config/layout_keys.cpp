// SPDX-License-Identifier: Apache-2.0
#include "engine/config/key_lists.h"
#include "parallel/schedule/catalogue.h"

namespace halfpipe::config {
namespace {

void add_search_keys(std::vector<Key>& keys) {
  const auto of = [](auto member) { return field(&RunConfig::schedule, member); };
  keys.push_back(only_with(
      flag("schedule.exact", of(&ScheduleConfig::exact),
           "keep the textbook order, made for equal costs; false: improve it for those of the "
           "stages, in the same memory"),
      {"schedule.name"}, "schedule.name 1f1b-v, v-min, v-half or w4",
      [](const RunConfig& c) { return schedule::is_made_for_equal_costs(c.schedule.name); }));
  keys.push_back(only_with(
      text_for_all_or_each(
          "schedule.memory_limit", of(&ScheduleConfig::memory_limit),
          of(&ScheduleConfig::rank_memory_limits),
          "most activation memory per rank: 512 MiB, 4.5 units or 60% (of 1f1b's), or a list with "
          "one of these for each pipeline rank; null: what the machine has left"),
      {"schedule.name"}, "schedule.name auto",
      [](const RunConfig& c) { return c.schedule.name == "auto"; }));
  const auto add = [&](Key key) {
    keys.push_back(only_with(
        std::move(key), {"schedule.name", "schedule.exact"},
        "schedule.name auto, or 1f1b-v, v-min, v-half or w4 without schedule.exact",
        [](const RunConfig& c) {
          return c.schedule.name == "auto" ||
                 (schedule::is_made_for_equal_costs(c.schedule.name) && !c.schedule.exact);
        }));
  };
  add(choice("schedule.objective", of(&ScheduleConfig::objective), {"makespan", "span"}, {},
             "what the search makes small: a step on all ranks together, or on the slowest rank"));
  add(real_number("schedule.search_seconds", of(&ScheduleConfig::search_seconds),
                  {0.0, true, 86400.0, true}, "how long rank 0 searches"));
  add(whole_number<std::int64_t>(
      "schedule.search_evaluations", of(&ScheduleConfig::search_evaluations), {0},
      "how much it searches instead: the same schedule on every machine; 0: seconds count"));
  add(whole_number<std::int64_t>(
      "schedule.replan_after", of(&ScheduleConfig::replan_after), {0},
      "steps of a run whose passes and messages are measured, for better orders after them; 0: "
      "none"));
}

}  // namespace

void add_layout_keys(std::vector<Key>& keys) {
  const auto in_parallel = [](auto member) { return field(&RunConfig::parallel, member); };
  keys.push_back(whole_number<int>("parallel.data", in_parallel(&ParallelConfig::data),
                                   {1, kMostRanks},
                                   "replicas of the pipeline, each with a part of the batch"));
  keys.push_back(whole_number<int>("parallel.tensor", in_parallel(&ParallelConfig::tensor),
                                   {1, kMostRanks},
                                   "ranks that share every matrix; divides num_heads"));
  keys.push_back(whole_number<int>("parallel.pipeline", in_parallel(&ParallelConfig::pipeline),
                                   {1, kMostRanks}, "pipeline ranks: p"));
  keys.push_back(
      choice("parallel.order", in_parallel(&ParallelConfig::order),
             {"data-pipeline-tensor", "pipeline-data-tensor", "data-tensor-pipeline",
              "pipeline-tensor-data", "tensor-data-pipeline", "tensor-pipeline-data"},
             {},
             "how ranks are numbered: along the last axis they are neighbours, and share "
             "a machine first"));
  keys.push_back(only_with(
      flag("parallel.gather_again", in_parallel(&ParallelConfig::gather_again),
           "weight gradients gather the activations of all tensor ranks again; false: they are "
           "kept gathered, less to exchange and more memory"),
      {"parallel.tensor"}, "parallel.tensor of at least 2",
      [](const RunConfig& c) { return c.parallel.tensor > 1; }));
  keys.push_back(whole_numbers_or_auto(
      "parallel.layers_per_stage", in_parallel(&ParallelConfig::layers_per_stage),
      "blocks of each stage, first to last; auto: balanced by cost"));
  keys.push_back(only_with(
      choice(
          "parallel.transport", in_parallel(&ParallelConfig::transport), {"host", "nccl"}, {},
          "how messages get from GPU to GPU; host: through pinned memory and MPI; nccl: directly, "
          "each rank with a GPU of its own"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));

  const auto in_schedule = [](auto member) { return field(&RunConfig::schedule, member); };
  const auto known = schedule::schedule_names();
  std::vector<std::string> names(known.begin(), known.end());
  names.emplace_back("auto");
  keys.push_back(choice("schedule.name", in_schedule(&ScheduleConfig::name), names, {},
                        "pipeline schedule; auto: the best one found for schedule.memory_limit"));
  keys.push_back(
      only_with(whole_number<int>("schedule.num_chunks", in_schedule(&ScheduleConfig::num_chunks),
                                  {1, kMostRanks}, "stages per rank of schedule interleaved"),
                {"schedule.name"}, "schedule.name interleaved",
                [](const RunConfig& c) { return c.schedule.name == "interleaved"; }));
  add_search_keys(keys);
}

}  // namespace halfpipe::config
