// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "engine/checkpoint/resume.h"
#include "engine/runtime/planning/device_memory.h"
#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/ranks/rank_count.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/ranks/rank_places.h"
#include "engine/runtime/training/data_record.h"
#include "engine/runtime/training/load_parameters.h"
#include "engine/runtime/training/output_folder.h"
#include "engine/runtime/training/resume_rules.h"
#include "engine/runtime/training/same_on_all_ranks.h"
#include "engine/runtime/training/start_report.h"
#include "engine/runtime/training/stop_signal.h"
#include "engine/runtime/training/training_inputs.h"
#include "engine/runtime/training/training_loop.h"
#include "engine/runtime/tuning.h"
#include "engine/trace/run_log.h"
#include "kernels/core/pinning.h"

namespace halfpipe::runtime {

namespace {

void append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// Says what this rank does before its first step.
void starting(transport::Transport& transport, const char* activity) {
  constexpr std::int64_t kOutsideOfSteps = -1;
  publish_activity(transport, kOutsideOfSteps, activity);
}

/// A signal before the first step ends the job here: there is nothing to save. Collective.
void end_if_stopped(transport::Transport& transport) {
  agree(transport, [] {
    if (stop_requested()) throw RuntimeFailure("stopped by a signal before the first step");
  });
}

/// Every rank reads for itself: its own file, its own command line, its own view of the data. So
/// ranks compare what they read before a byte is allocated by it.
TrainingInputs read_inputs(const TrainingRequest& request, transport::Transport& transport) {
  TrainingInputs inputs;
  starting(transport, "reading the configuration");
  agree(transport, [&] {
    inputs.config = request.load_config();
    if (!is_modelled(inputs.config.device)) return;
    throw ConfigError(
        "device.kind (modelled) computes nothing, so there is nothing to train; halfpipe bench and "
        "halfpipe plan take it");
  });
  std::vector<NamedValue> values = keys_of_a_job(inputs.config);
  values.push_back({"--resume", request.resume.value_or("not given")});
  require_same_on_all_ranks(values, transport);
  starting(transport, "reading the data");
  agree(transport, [&] {
    check_rank_count(inputs.config, transport.world_size());
    inputs.dataset = open_training_data(inputs.config);
    starting(transport, "comparing the data between ranks");
    inputs.data_record = describe_data(*inputs.dataset);
    values = data_of_a_job(inputs);
  });
  require_same_on_all_ranks(values, transport);
  return inputs;
}

/// The text that rank 0 finds, on every rank: what others find may be another one by then.
std::string choose_on_rank_zero(transport::Transport& transport,
                                const std::function<std::string()>& choose) {
  std::vector<std::byte> message;
  agree(transport, [&] {
    if (transport.rank() != 0) return;
    const std::string choice = choose();
    const auto* bytes = reinterpret_cast<const std::byte*>(choice.data());
    message.assign(bytes, bytes + choice.size());
  });
  transport.broadcast(message, 0);
  return {reinterpret_cast<const char*>(message.data()), message.size()};
}

/// Rank 0 takes output.dir and decides what to resume from; the others follow. Nothing of an
/// earlier run is changed yet: much may still go wrong before the first step. Returns rank 0's hold
/// on the folder.
std::unique_ptr<files::FileLock> prepare_output(TrainingInputs& inputs,
                                                const TrainingRequest& request,
                                                transport::Transport& transport) {
  starting(transport, request.resume ? "verifying the checkpoint" : "preparing output.dir");
  std::unique_ptr<files::FileLock> lock;
  const std::string choice = choose_on_rank_zero(transport, [&] {
    const config::OutputConfig& output = inputs.config.output;
    lock = take_output_folder(output.dir);
    trace::check_log_files(output.dir);
    checkpoint::CheckpointStore(output.dir, output.keep).prepare();
    const checkpoint::ResumePoint point = choose_start(output.dir, request.resume);
    inputs.warnings = point.warnings;
    return point.directory.value_or("").string();
  });
  if (choice.empty()) return lock;
  inputs.resume_from = choice;
  agree(transport, [&] {
    const checkpoint::TrainerState state = checkpoint::read_trainer_state(*inputs.resume_from);
    inputs.steps_done = state.step;
    const std::vector<std::string> notes = check_resume(inputs, state, *inputs.resume_from);
    if (transport.rank() != 0) return;
    append(inputs.warnings, notes);
  });
  return lock;
}

/// The directory that model.init_from names, with what can be known of it before a model is built;
/// empty when the run does not start from one.
std::filesystem::path find_initial_model(const TrainingInputs& inputs,
                                         transport::Transport& transport) {
  const std::string& given = inputs.config.model.init_from;
  if (inputs.resume_from || given.empty()) return {};
  starting(transport, "verifying model.init_from");
  return choose_on_rank_zero(transport, [&] {
    std::filesystem::path directory;
    try {
      directory = checkpoint::locate_checkpoint(given);
      checkpoint::verify_if_ours(directory);
    } catch (const FileError& error) {
      throw ConfigError(fmt::format("model.init_from ({}): {}", given, error.what()));
    }
    check_vocabulary(inputs.config, inputs.dataset->vocabulary, "model.init_from", directory);
    return directory.string();
  });
}

void load_parameters(const TrainingInputs& inputs,
                     const std::filesystem::path& initial_model,
                     int num_threads,
                     PipelineTrainer& trainer,
                     transport::Transport& transport) {
  const config::RunConfig& config = inputs.config;
  starting(transport, "loading the parameters");
  agree(transport, [&] {
    if (inputs.resume_from) {
      load_checkpoint(*inputs.resume_from, trainer);
    } else if (!initial_model.empty()) {
      load_initial_parameters(initial_model, config.model, trainer);
    } else {
      trainer.initialise_parameters(config.train.seed, num_threads);
    }
  });
  if (!inputs.resume_from) return;
  starting(transport, "hashing the parameters");
  const std::string hash = trainer.parameter_hash();
  const std::string saved = checkpoint::read_trainer_state(*inputs.resume_from).parameter_hash;
  agree(transport, [&] {
    if (hash == saved) return;
    throw FileError(fmt::format("{}: the parameters have hash {}, trainer.json says {}",
                                inputs.resume_from->string(), hash, saved));
  });
}

/// What carries the messages of a rank's groups between memories of its device.
class DeviceTransports {
 public:
  /// Collective. All must outlive it.
  DeviceTransports(const TrainingRequest& request,
                   const config::RunConfig& config,
                   const RankGroups& groups,
                   device::Backend& backend)
      : groups_(groups) {
    if (request.check_devices) request.check_devices(config, groups.world(), backend);
    if (!request.make_device_transport) return;
    pipeline_ = request.make_device_transport(config, groups.pipeline(), backend,
                                              transport::Reach::kNeighbours);
    const auto make = [&](transport::Transport* group_or_null) {
      return group_or_null == nullptr
                 ? nullptr
                 : request.make_device_transport(config, *group_or_null, backend,
                                                 transport::Reach::kEveryPair);
    };
    replicas_ = make(groups.replicas_or_null());
    tensor_ = make(groups.tensor_or_null());
  }

  /// For a rank that fails: whoever frees memory of the device waits for all its kernels.
  void give_up_messages() const noexcept {
    for (transport::Transport* each : {pipeline_.get(), replicas_.get(), tensor_.get()}) {
      if (each != nullptr) each->give_up_messages();
    }
  }

  [[nodiscard]] TrainerTransports all() const {
    return {.world = groups_.world(),
            .pipeline = pipeline_ ? *pipeline_ : groups_.pipeline(),
            .replicas_or_null = replicas_ ? replicas_.get() : groups_.replicas_or_null(),
            .tensor_or_null = tensor_ ? tensor_.get() : groups_.tensor_or_null()};
  }

 private:
  const RankGroups& groups_;
  std::unique_ptr<transport::Transport> pipeline_;  // null: the group itself
  std::unique_ptr<transport::Transport> replicas_;
  std::unique_ptr<transport::Transport> tensor_;
};

RankPlace own_place(const TrainingRequest& request,
                    const config::RunConfig& config,
                    const transport::Transport& transport) {
  return {host_name(), request.device_label
                           ? request.device_label(config, transport.rank_on_this_host())
                           : config.device.kind};
}

/// Of this rank.
std::string graphs_line(const Job& job, const PipelineTrainer& trainer) {
  const auto& program = job.training.ranks[static_cast<std::size_t>(trainer.pipeline_rank())];
  const auto num_passes = std::ranges::count_if(
      program.instructions, [](const auto& each) { return each.message == schedule::kNone; });
  return fmt::format("graphs      {} CUDA graphs for the {} passes of rank {}\n",
                     trainer.num_recordings(), num_passes, trainer.pipeline_rank());
}

}  // namespace

void run_training(const TrainingRequest& request, transport::Transport& transport) {
  TrainingInputs inputs = read_inputs(request, transport);
  // Before output.dir is touched: the device may not be there.
  starting(transport, "opening the device");
  agree(transport, [&] {
    if (request.settle_device) request.settle_device(inputs.config, transport.rank_on_this_host());
  });
  require_same_on_all_ranks(device_of_a_job(inputs.config), transport);
  const RankThreads threads = agree_on_threads(inputs.config.device, transport);
  std::unique_ptr<device::Backend> backend;
  agree(transport, [&] {
    backend = request.make_backend(inputs.config, threads, transport.rank_on_this_host());
  });
  end_if_stopped(transport);
  const std::unique_ptr<files::FileLock> lock = prepare_output(inputs, request, transport);
  const std::filesystem::path initial_model = find_initial_model(inputs, transport);

  end_if_stopped(transport);
  starting(transport, "planning");
  std::optional<Job> job;
  {
    const UnpinnedScope spread_out;  // a search has threads of its own
    ask_devices_for_memory(inputs.config, *backend, transport);
    job = agree_on_job(inputs.config, transport);
  }

  end_if_stopped(transport);
  starting(transport, "allocating memory");
  transport.set_timeout(inputs.config.debug.timeout_seconds);  // of connections between GPUs
  const RankGroups groups(inputs.config.parallel, transport);
  const DeviceTransports device_transports(request, inputs.config, groups, *backend);
  transport.set_timeout(0.0);
  std::unique_ptr<PipelineTrainer> trainer;
  agree(transport, [&] {
    trainer = std::make_unique<PipelineTrainer>(*job, *backend, device_transports.all());
  });
  end_if_stopped(transport);
  if (trainer->messages().messages_hold_the_device_up()) {
    transport.set_timeout(inputs.config.debug.timeout_seconds);  // ranks that share layers exchange
    agree(transport, [&] { trainer->run_every_pass(); });
    transport.set_timeout(0.0);
  }
  load_parameters(inputs, initial_model, threads.count, *trainer, transport);
  end_if_stopped(transport);
  std::string report = start_report(*job, plan_memory(*job, *backend), threads.count);
  report += place_lines(groups.mesh(),
                        gather_places(own_place(request, inputs.config, transport), transport));
  if (inputs.config.device.tune) {
    std::optional<checkpoint::TunedRecord> known;
    agree(transport, [&] {
      if (inputs.resume_from) known = checkpoint::read_tuned_record(*inputs.resume_from);
    });
    Tuning tuning = tune(*trainer, transport, known);
    report += tuning.report;
    inputs.tuned = std::move(tuning.record);
    if (transport.rank() == 0) append(inputs.warnings, tuning.warnings);
  }
  if (inputs.config.device.cuda_graphs) {
    agree(transport, [&] { trainer->run_every_pass(); });
    agree(transport, [&] { trainer->record_passes(); });
    report += graphs_line(*job, *trainer);
  }
  end_if_stopped(transport);
  // Only now: until here ranks wait for one another without moving a byte, for as long as a disk or
  // a plan takes. A rank that dies is noticed all the same.
  transport.set_timeout(inputs.config.debug.timeout_seconds);

  std::unique_ptr<TrainingLoop> loop;
  agree(transport, [&] { loop = std::make_unique<TrainingLoop>(inputs, *job, *trainer, groups); });
  loop->begin(report);
  install_stop_signals();
  try {
    loop->run();
  } catch (...) {
    device_transports.give_up_messages();
    throw;
  }
}

}  // namespace halfpipe::runtime
