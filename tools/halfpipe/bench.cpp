// SPDX-License-Identifier: Apache-2.0
// halfpipe bench: the steps of a job under several schedules, side by side.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/config/key_table.h"
#include "engine/config/load_config.h"
#include "engine/runtime/modelled_ranks.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/ranks/rank_count.h"
#include "engine/runtime/training/same_on_all_ranks.h"
#include "engine/runtime/training/training_inputs.h"
#include "tools/halfpipe/bench_ops.h"
#include "tools/halfpipe/bench_report.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/devices.h"
#include "tools/halfpipe/option_checks.h"
#include "tools/halfpipe/run_ranks.h"
#include "tools/halfpipe/write_output.h"

namespace halfpipe::tools {

namespace {

constexpr int kMostLocalRanks = 256;
constexpr int kMostSteps = 1000000;

struct Options {
  std::string config;
  std::vector<std::string> settings;
  std::string schedules;
  runtime::BenchmarkSteps steps;
  std::string json;
  std::string html;
  int local_ranks = 0;
  bool local_ranks_given = false;
};

/// Keys that have a meaning with some schedules: the list may have others than the file.
const std::array<std::string, 7> kOfSomeSchedules = {
    "schedule.exact",       "schedule.memory_limit",   "schedule.num_chunks",
    "schedule.objective",   "schedule.search_seconds", "schedule.search_evaluations",
    "schedule.replan_after"};

/// The file as the first schedule of the list reads it that can: parallel.layers_per_stage fits
/// some and not others.
config::RunConfig load_for_any(const Options& options, const std::vector<ScheduleChoice>& choices) {
  if (choices.empty()) return config::load_config(options.config, options.settings);
  std::exception_ptr first_problem;
  for (const ScheduleChoice& choice : choices) {
    std::vector<std::string> settings = options.settings;
    settings.push_back("schedule.name=" + choice.name);
    try {
      return config::load_config(options.config, settings, kOfSomeSchedules);
    } catch (const ConfigError&) {
      if (!first_problem) first_problem = std::current_exception();
    }
  }
  std::rethrow_exception(first_problem);
}

/// A key that is set and changes none of the schedules is a mistake.
void check_keys(const config::RunConfig& config, const std::vector<ScheduleChoice>& choices) {
  for (const std::string& path : kOfSomeSchedules) {
    const config::Key& key = *config::find_key_or_null(path);
    if (key.write(config) == key.doc.default_value) continue;
    const bool any = std::ranges::any_of(choices, [&](const ScheduleChoice& choice) {
      config::RunConfig other = config;
      other.schedule.name = choice.name;
      return key.applies(other);
    });
    if (any) continue;
    throw ConfigError(fmt::format("{} ({}) has a meaning with {} only; --schedules has none", path,
                                  key.write(config), key.applies_when));
  }
}

struct Question {
  config::RunConfig config;
  std::vector<ScheduleChoice> choices;
  int num_running_replicas = 1;
};

/// Collective; the same on every rank.
Question read_question(const Options& options, transport::Transport& transport) {
  Question question;
  runtime::agree(transport, [&] {
    if (transport.rank() == 0) {
      check_outputs({{"--json", options.json}, {"--html", options.html}});
    }
    if (!options.schedules.empty()) question.choices = parse_schedule_choices(options.schedules);
    config::RunConfig& config = question.config;
    config = load_for_any(options, question.choices);
    if (question.choices.empty()) {
      question.choices = {{config.schedule.name, config.schedule.name, ""}};
    }
    check_keys(config, question.choices);
    if (is_modelled(config.device)) {
      question.num_running_replicas =
          runtime::check_modelled_rank_count(config, transport.world_size());
    } else {
      runtime::check_rank_count(config, transport.world_size());
      question.num_running_replicas = config.parallel.data;
    }
    if (config.model.vocab_size == 0) runtime::open_training_data(config);
    if (is_modelled(config.device) && transport.ranks_on_this_host() != transport.world_size()) {
      throw ConfigError("device.kind (modelled): all ranks must be on one machine");
    }
  });
  std::vector<runtime::NamedValue> values = runtime::keys_of_a_job(question.config);
  values.push_back({"--schedules", options.schedules});
  values.push_back({"--steps", fmt::to_string(options.steps.measured)});
  values.push_back({"--warm-up", fmt::to_string(options.steps.warm_up)});
  runtime::require_same_on_all_ranks(values, transport);
  runtime::agree(transport, [&] { settle_device(question.config, transport.rank_on_this_host()); });
  runtime::require_same_on_all_ranks(runtime::device_of_a_job(question.config), transport);
  return question;
}

void write_report(const Options& options, const BenchReport& report) {
  fmt::print("{}", options.json == "-" ? bench_json(report) : bench_text(report));
  if (!options.json.empty() && options.json != "-") write_output(options.json, bench_json(report));
  const bool any_ran = std::ranges::any_of(report.schedules, [](const BenchedSchedule& benched) {
    return benched.measured.has_value();
  });
  if (!any_ran) {
    throw ConfigError(fmt::format("no schedule was run; {}: {}", report.schedules.front().title,
                                  report.schedules.front().problem));
  }
  if (!options.html.empty()) write_output(options.html, bench_page(report));
}

/// What one rank does.
void bench_rank(const Options& options, transport::Transport& carrier) {
  const Question question = read_question(options, carrier);
  const config::RunConfig& config = question.config;
  std::optional<runtime::ModelledRanks> modelled;
  std::optional<runtime::RankGroups> groups;
  if (is_modelled(config.device)) {
    modelled.emplace(config, carrier);
  } else {
    groups.emplace(config.parallel, carrier);
  }
  const runtime::TrainerTransports transports =
      modelled ? modelled->transports() : runtime::transports_of(*groups);
  BenchReport report{config, options.steps, question.num_running_replicas, {}};
  std::optional<checkpoint::TunedRecord> tuned;
  for (const ScheduleChoice& choice : question.choices) {
    if (carrier.rank() == 0) fmt::print(stderr, "bench: {}\n", choice.text);
    report.schedules.push_back(bench_schedule(config, choice, options.steps, tuned, transports));
    const auto& measured = report.schedules.back().measured;
    if (!measured) continue;
    if (carrier.rank() == 0) fmt::print(stderr, "{}", measured->tuning);
    if (measured->tuned) tuned = measured->tuned;
  }
  runtime::agree(carrier, [&] {
    if (carrier.rank() == 0) write_report(options, report);
  });
}

void add_step_options(CLI::App& command, Options& options) {
  command.add_option("--steps", options.steps.measured, "Measured steps of each schedule")
      ->check(CLI::Range(1, kMostSteps))
      ->capture_default_str();
  command.add_option("--warm-up", options.steps.warm_up, "Steps before those, not measured")
      ->check(CLI::Range(0, kMostSteps))
      ->capture_default_str();
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "bench", "Run the steps of a job under several schedules and compare them");
  const auto options = std::make_shared<Options>();
  // Not required(): CLI11 would take the word `ops` for it.
  CLI::Option* const config =
      command->add_option("config", options->config, "YAML file; required without ops");
  command->add_option("--set", options->settings, "section.key=value; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--schedules", options->schedules,
                   "Schedules, separated by commas; auto@LIMIT searches for another "
                   "schedule.memory_limit (default: that of the file)")
      ->check(not_empty());
  add_step_options(*command, *options);
  command->add_option("--json", options->json, "Write all figures as JSON; -: print that only")
      ->check(not_empty());
  command
      ->add_option("--html", options->html,
                   "Write a page: the table, planned and measured timelines, memory over time")
      ->check(not_empty());
  command
      ->add_option("--local-ranks", options->local_ranks,
                   "Run N ranks as threads of this process, without MPI")
      ->check(CLI::Range(1, kMostLocalRanks));
  command->footer(
      "Tokens are random and the learning rate is 0; nothing is evaluated or saved.\n"
      "Examples:\n"
      "  mpirun -n 4 halfpipe bench configs/quickstart.yaml --schedules 1f1b,v-half,v-zb\n"
      "  mpirun -n 8 --oversubscribe halfpipe bench configs/modelled/gpt3-7b_pp8_a100.yaml "
      "--schedules 1f1b,v-half,auto@50% --html bench.html\n"
      "docs/benchmarking.md says what the figures mean.");
  const CLI::App* const ops = add_bench_ops(*command);
  command->callback([command, config, ops, options] {
    if (ops->parsed()) return;  // it has done its work
    if (config->count() == 0) throw CLI::RequiredError("config");
    options->local_ranks_given = command->count("--local-ranks") > 0;
    if (!options->schedules.empty()) (void)parse_schedule_choices(options->schedules);
    run_ranks(options->local_ranks_given ? std::optional(options->local_ranks) : std::nullopt,
              [&](transport::Transport& transport) { bench_rank(*options, transport); });
  });
}

}  // namespace halfpipe::tools
