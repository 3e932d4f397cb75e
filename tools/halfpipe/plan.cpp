// SPDX-License-Identifier: Apache-2.0
// halfpipe plan: what a job will do, before any rank starts.
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "engine/config/load_config.h"
#include "engine/runtime/job.h"
#include "engine/runtime/start_report.h"
#include "engine/runtime/training_inputs.h"
#include "engine/runtime/training_run.h"
#include "kernels/core/error.h"
#include "parallel/schedule/render_ascii.h"
#include "parallel/schedule/render_svg.h"
#include "parallel/schedule/simulate.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/devices.h"
#include "tools/halfpipe/option_checks.h"

namespace halfpipe::tools {

namespace {

constexpr int kTimelineColumns = 160;

struct Options {
  std::string config;
  std::vector<std::string> settings;
  std::string svg;
};

void write_picture(const std::string& path, const std::string& svg) {
  std::ofstream out(path, std::ios::trunc);
  out << svg;
  out.close();
  if (!out) throw RuntimeFailure("--svg " + path + ": cannot write the file");
}

void plan(const Options& options) {
  config::RunConfig config = config::load_config(options.config, options.settings);
  if (config.model.vocab_size == 0) runtime::open_training_data(config);
  const runtime::Job job = runtime::make_job(config);
  const int threads = runtime::resolve_threads_per_rank(config.device, config.parallel.pipeline);
  const auto backend = make_backend(config.device, threads);
  const schedule::Timeline timeline =
      schedule::simulate(runtime::orders_of(job.training), job.costs);
  fmt::print("{}", runtime::start_report(job, runtime::plan_memory(job, *backend), threads));
  fmt::print("timeline\n{}", schedule::render_ascii(timeline, schedule::seconds_per_column_for(
                                                                  timeline, kTimelineColumns)));
  if (options.svg.empty()) return;
  write_picture(options.svg, schedule::render_svg(
                                 timeline,
                                 fmt::format("{}: {} pipeline ranks, {} micro-batches",
                                             job.training.schedule_name, config.parallel.pipeline,
                                             job.training.num_micro_batches),
                                 "forward passes of a block"));
}

}  // namespace

void add_plan(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "plan", "Show stage map, planned bubble, memory by rank and timeline; starts no rank");
  const auto options = std::make_shared<Options>();
  command->add_option("config", options->config, "YAML file")->required();
  command->add_option("--set", options->settings, "section.key=value; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--svg", options->svg, "Write the timeline as a picture")->check(not_empty());
  command->footer(
      "Times are modelled (floating-point operations), messages are free.\n"
      "Examples:\n"
      "  halfpipe plan configs/quickstart.yaml\n"
      "  halfpipe plan configs/quickstart.yaml --set schedule.name=v-min --svg v-min.svg");
  command->callback([options] { plan(*options); });
}

}  // namespace halfpipe::tools
