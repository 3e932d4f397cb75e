// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/benched_schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "engine/config/load_config.h"
#include "engine/config/memory_limit.h"
#include "engine/config/nearest_name.h"
#include "engine/config/validate_config.h"
#include "engine/runtime/planning/device_memory.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/stage_costs.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/ranks/host_cores.h"
#include "kernels/core/error.h"
#include "kernels/core/pinning.h"
#include "parallel/schedule/catalogue.h"
#include "tools/halfpipe/devices.h"

namespace halfpipe::tools {

namespace {

std::vector<std::string> known_names() {
  const auto names = schedule::schedule_names();
  std::vector<std::string> known(names.begin(), names.end());
  known.emplace_back("auto");
  return known;
}

ScheduleChoice parse_choice(const std::string& text) {
  const std::size_t at = text.find('@');
  ScheduleChoice choice{text, text.substr(0, at), ""};
  const std::vector<std::string> known = known_names();
  if (std::ranges::find(known, choice.name) == known.end()) {
    const auto nearest = config::nearest_name(choice.name, known);
    throw ConfigError(fmt::format("--schedules ({}): no such schedule; {}", text,
                                  nearest ? fmt::format("did you mean {}?", *nearest)
                                          : fmt::format("known are {}", fmt::join(known, ", "))));
  }
  if (at == std::string::npos) return choice;
  choice.memory_limit = text.substr(at + 1);
  if (choice.name != "auto") {
    throw ConfigError(fmt::format("--schedules ({}): only auto takes a memory limit", text));
  }
  if (!config::parse_memory_limit(choice.memory_limit)) {
    throw ConfigError(
        fmt::format("--schedules ({}): after the @ must be {}", text, config::kMemoryLimitForms));
  }
  return choice;
}

/// A wait that the plan itself makes as long as this would be taken for a rank that stands still.
std::string slowness(const config::RunConfig& config, double step_seconds) {
  const double limit = config.debug.timeout_seconds;
  if (limit <= 0.0 || step_seconds < limit) return "";
  return fmt::format("a step would take {:.4g} s, longer than debug.timeout_seconds ({})",
                     step_seconds, limit);
}

}  // namespace

std::vector<ScheduleChoice> parse_schedule_choices(const std::string& list) {
  std::vector<ScheduleChoice> choices;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t comma = list.find(',', begin);
    const std::string text = list.substr(begin, comma - begin);
    const ScheduleChoice choice = parse_choice(text);
    for (const ScheduleChoice& other : choices) {
      if (other.text == text) {
        throw ConfigError(fmt::format("--schedules ({}): {} is named twice", list, text));
      }
    }
    choices.push_back(choice);
    if (comma == std::string::npos) return choices;
    begin = comma + 1;
  }
}

config::RunConfig with_schedule(config::RunConfig config, const ScheduleChoice& choice) {
  config.schedule.name = choice.name;
  if (!choice.memory_limit.empty()) {
    config.schedule.memory_limit = choice.memory_limit;
    config.schedule.rank_memory_limits.clear();
  }
  // A fresh model's gradients are clipped in every step, after which no rank guesses that they are
  // not: steps that go on early would not be measured.
  config.optimizer.clip_grad_norm = 0.0;
  return config::without_idle_keys(std::move(config));
}

BenchedSchedule bench_schedule(const config::RunConfig& base,
                               const ScheduleChoice& choice,
                               const runtime::BenchmarkSteps& steps,
                               const std::optional<checkpoint::TunedRecord>& tuned,
                               const runtime::TrainerTransports& transports) {
  transport::Transport& world = transports.world;
  BenchedSchedule result;
  result.title = choice.text;
  world.set_timeout(0.0);  // a search may take long
  config::RunConfig config = with_schedule(base, choice);
  std::unique_ptr<device::Backend> backend;
  runtime::RankThreads threads;
  try {
    runtime::agree(world, [&] { config::validate(config); });
    threads = runtime::agree_on_threads(config.device, world);
    runtime::agree(world,
                   [&] { backend = make_backend(config, threads, world.rank_on_this_host()); });
    const UnpinnedScope spread_out;  // a search has threads of its own
    runtime::ask_devices_for_memory(config, *backend, world);
    result.job.emplace(runtime::agree_on_job(config, world));
    runtime::agree(world, [&] {
      result.planned_memory = runtime::plan_memory(*result.job, *backend);
      // A benchmark saves nothing.
      for (runtime::RankMemory& rank : result.planned_memory) rank.checkpoint_copy = 0;
    });
  } catch (const runtime::AgreedError& error) {
    constexpr int kUserError = 2;
    if (error.exit_code() != kUserError) throw;
    result.problem = error.what();
    return result;
  }
  result.problem = runtime::memory_shortage(config, result.planned_memory);
  if (!result.problem.empty()) return result;
  if (runtime::costs_are_seconds(config)) {
    result.planned =
        schedule::simulate(runtime::orders_of(result.job->training), result.job->costs);
    result.outside = runtime::outside_passes(*result.job);
    result.problem = slowness(config, result.planned->makespan + result.outside.total());
    if (!result.problem.empty()) return result;
  }
  world.set_timeout(config.debug.timeout_seconds);
  check_devices(config, world, *backend);
  const auto of_device = [&](transport::Transport* host_or_null,
                             transport::Reach reach) -> std::unique_ptr<transport::Transport> {
    if (host_or_null == nullptr) return nullptr;
    return make_device_transport(config, *host_or_null, *backend, reach);
  };
  using enum transport::Reach;
  const auto pipeline = of_device(&transports.pipeline, kNeighbours);
  const auto replicas = of_device(transports.replicas_or_null, kEveryPair);
  const auto tensor = of_device(transports.tensor_or_null, kEveryPair);
  result.measured = runtime::benchmark_steps(
      *result.job, steps, threads.count, *backend,
      {.world = world,
       .pipeline = pipeline ? *pipeline : transports.pipeline,
       .replicas_or_null = replicas ? replicas.get() : transports.replicas_or_null,
       .tensor_or_null = tensor ? tensor.get() : transports.tensor_or_null},
      tuned);
  return result;
}

}  // namespace halfpipe::tools
