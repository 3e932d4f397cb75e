// SPDX-License-Identifier: Apache-2.0
// halfpipe train: from a configuration to checkpoints.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/config/load_config.h"
#include "engine/runtime/training/stop_signal.h"
#include "engine/runtime/training/training_run.h"
#include "parallel/transport/mpi_session.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/devices.h"
#include "tools/halfpipe/run_ranks.h"

namespace halfpipe::tools {

namespace {

// Every rank keeps the whole plan and what all others told it: memory grows with the square (256
// ranks take some 650 MB beside their model). More ranks are a matter for processes.
constexpr int kMostLocalRanks = 256;

struct Options {
  std::string config;
  std::vector<std::string> settings;
  std::string resume;
  int local_ranks = 0;
  bool resume_given = false;
  bool local_ranks_given = false;
};

void train(const Options& options) {
  // A job of threads has nothing to save before its first step: signals just end it. Under a
  // launcher they must not, since it sends SIGTERM to the others when a rank dies, whose message
  // would be lost.
  if (transport::launched_by_mpi()) runtime::install_stop_signals();
  const runtime::TrainingRequest request{
      .load_config = [&] { return config::load_config(options.config, options.settings); },
      .resume = options.resume_given ? std::optional(options.resume) : std::nullopt,
      .settle_device = settle_device,
      .make_backend = make_backend,
      .device_label = device_label,
      .check_devices = check_devices,
      .make_device_transport = make_device_transport};
  run_ranks(options.local_ranks_given ? std::optional(options.local_ranks) : std::nullopt,
            [&](transport::Transport& transport) { runtime::run_training(request, transport); });
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "Train a model as a YAML file says");
  const auto options = std::make_shared<Options>();
  command->add_option("config", options->config, "YAML file; docs/configuration.md lists its keys")
      ->required();
  command
      ->add_option("--set", options->settings,
                   "Set a key after the file is read: section.key=value; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--local-ranks", options->local_ranks,
                   "Run N ranks as threads of this process, without MPI")
      ->check(CLI::Range(1, kMostLocalRanks));
  command
      ->add_option("--resume", options->resume,
                   "Go on from a checkpoint: its path, or 'auto' (the default) for the newest "
                   "whole one in output.dir")
      ->expected(0, 1)
      ->default_str("auto");
  command->footer(
      "Examples:\n"
      "  mpirun -n 4 halfpipe train configs/quickstart.yaml\n"
      "  halfpipe train configs/quickstart.yaml --local-ranks 4 --set train.steps=50\n"
      "  mpirun -n 2 halfpipe train run.yaml --resume --set parallel.pipeline=2\n"
      "SIGUSR1 or SIGTERM to a rank: the job saves at the next step and ends with exit code 0.");
  command->callback([command, options] {
    options->resume_given = command->count("--resume") > 0;
    options->local_ranks_given = command->count("--local-ranks") > 0;
    if (options->resume_given && options->resume.empty()) options->resume = "auto";
    train(*options);
  });
}

}  // namespace halfpipe::tools
