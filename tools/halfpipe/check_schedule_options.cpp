// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/check_schedule_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <set>
#include <string_view>
#include <utility>

#include "engine/config/nearest_name.h"
#include "kernels/core/error.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/pass.h"
#include "tools/halfpipe/write_output.h"

namespace halfpipe::tools {

namespace {

constexpr const char* kAuto = "auto";

void check_values(const ScheduleOptions& options) {
  for (const auto& [name, value] : {std::pair{"--forward", options.forward},
                                    std::pair{"--backward-input", options.backward_input},
                                    std::pair{"--backward-weight", options.backward_weight}}) {
    if (!(value >= 1e-100 && value < 1e12)) {
      throw ConfigError(fmt::format("{} ({}) must be at least 1e-100 and below 1e12", name, value));
    }
  }
  if (!(options.message >= 0.0 && options.message < 1e12)) {
    throw ConfigError(
        fmt::format("--comm ({}) must be at least 0 and below 1e12", options.message));
  }
  if (!(options.seconds >= 0.0 && options.seconds <= 86400.0)) {
    throw ConfigError(fmt::format("--seconds ({}) must be from 0 to 86400", options.seconds));
  }
}

void check_memory_limit(const ScheduleOptions& options) {
  const std::vector<double>& limit = options.memory_limit;
  for (const double units : limit) {
    if (!(units > 0.0 && units < 1e9)) {
      throw ConfigError(fmt::format("--memory-limit ({}) must be above 0 and below 1e9", units));
    }
  }
  if (limit.size() <= 1 || limit.size() == static_cast<std::size_t>(options.num_ranks)) return;
  throw ConfigError(
      fmt::format("--memory-limit ({}) has {} numbers; it must have one for all ranks, or one for "
                  "each of --ranks ({})",
                  fmt::join(limit, ","), limit.size(), options.num_ranks));
}

/// Option and name of every schedule asked for.
std::vector<std::pair<const char*, std::string>> names_of(const ScheduleOptions& options) {
  std::vector<std::pair<const char*, std::string>> names = {{"--name", options.name}};
  for (const std::string& name : options.compare) names.emplace_back("--compare", name);
  return names;
}

template <typename Is>
bool any_name(const ScheduleOptions& options, const Is& is) {
  return is(options.name) || std::ranges::any_of(options.compare, is);
}

void check_names(const ScheduleOptions& options) {
  std::vector<std::string> known = {kAuto};
  for (const std::string_view name : schedule::schedule_names()) known.emplace_back(name);
  std::set<std::string> seen;
  for (const auto& [option, name] : names_of(options)) {
    if (std::ranges::find(known, name) == known.end()) {
      const auto nearest = config::nearest_name(name, known);
      throw ConfigError(fmt::format("{} ({}) is no schedule; {}the known ones are {}", option, name,
                                    nearest ? fmt::format("did you mean {}? ", *nearest) : "",
                                    fmt::join(known, ", ")));
    }
    if (!seen.insert(name).second) {
      throw ConfigError(
          fmt::format("{} ({}) names a schedule for the second time; each stands in "
                      "--name and --compare once",
                      option, name));
    }
  }
}

/// Of auto, the placement with the fewest passes counts: others are tried where there is room.
void check_sizes(const ScheduleOptions& options) {
  for (const auto& [option, name] : names_of(options)) {
    const int num_chunks =
        name == kAuto
            ? 1
            : schedule::placement_for(name, options.num_ranks, options.num_chunks).num_chunks();
    const std::int64_t passes = std::int64_t{schedule::kNumPasses} * options.num_ranks *
                                num_chunks * options.num_micro_batches;
    if (passes <= kMostPasses) continue;
    throw ConfigError(fmt::format(
        "--ranks ({}), --chunks ({}, as {} has them) and --micro-batches ({}) make {} "
        "passes, three for each; there may be no more than {}",
        options.num_ranks, num_chunks, name, options.num_micro_batches, passes, kMostPasses));
  }
}

/// Options that would do nothing are refused.
void check_effects(const CLI::App& command, const ScheduleOptions& options) {
  const auto refuse = [&](const char* option, const char* rule) {
    if (command.count(option) == 0) return;
    throw ConfigError(fmt::format("{} is for {}; {} is not", option, rule, options.name));
  };
  const bool searches = any_name(options, [](const std::string& name) { return name == kAuto; });
  const bool improvable = any_name(
      options, [](const std::string& name) { return schedule::is_made_for_equal_costs(name); });
  if (!any_name(options, [](const std::string& name) { return name == "interleaved"; })) {
    refuse("--chunks", "--name interleaved");
  }
  if (!searches) refuse("--memory-limit", "--name auto");
  if (!improvable) refuse("--exact", "schedules made for equal costs, 1f1b-v, v-min, v-half, w4");
  const bool equal_costs = options.stage_costs.empty() && options.message == 0.0 &&
                           options.forward == options.backward_input &&
                           options.forward == options.backward_weight;
  if (searches || (improvable && !options.exact && !equal_costs)) return;
  for (const char* option : {"--objective", "--seconds", "--evaluations", "--seed"}) {
    refuse(option,
           "--name auto, or 1f1b-v, v-min, v-half, w4 with unequal costs and without --exact");
  }
}

/// Found out before a long search, not after it.
void check_outputs_of(const ScheduleOptions& options) {
  std::vector<NamedFile> inputs;
  if (!options.stage_costs.empty()) inputs.push_back({"--stage-costs", options.stage_costs});
  check_outputs({{"--json", options.json},
                 {"--svg", options.svg},
                 {"--html", options.html},
                 {"--trace", options.trace}},
                inputs);
}

}  // namespace

std::string known_schedules() {
  return fmt::format("{}", fmt::join(schedule::schedule_names(), ", "));
}

std::vector<double> memory_limit_in(const std::string& text) {
  std::vector<double> numbers;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    double number = 0.0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, number);
    if (error != std::errc{} || stop != text.data() + end) {
      throw ConfigError(
          fmt::format("--memory-limit ({}) must be a number of units, or one for each rank with "
                      "commas between",
                      text));
    }
    numbers.push_back(number);
    begin = end + 1;
  }
  return numbers;
}

void check_schedule_options(const CLI::App& command, const ScheduleOptions& options) {
  check_values(options);
  check_memory_limit(options);
  check_names(options);
  check_sizes(options);
  check_effects(command, options);
  check_outputs_of(options);
}

}  // namespace halfpipe::tools
