// SPDX-License-Identifier: Apache-2.0
// A whole job: what a YAML file becomes. Sections whose consumer is the trainer itself are declared
// here, the others beside their consumers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/config/hardware_profile.h"
#include "engine/data/data_config.h"
#include "engine/model/transformer_config.h"
#include "engine/optimizer/optimizer_config.h"

namespace halfpipe::config {

struct TrainConfig {
  std::int64_t steps = 1000;
  int micro_batch_size = 4;    // sequences per micro-batch
  int global_batch_size = 32;  // sequences per optimizer step
  std::uint64_t seed = 1;
  std::int64_t evaluate_every = 100;  // steps; 0 = never
  int evaluate_batches = 20;          // global batches of the validation split; 0 = the whole split

  friend bool operator==(const TrainConfig&, const TrainConfig&) = default;
};

/// Of a job, and of each axis of its mesh.
inline constexpr int kMostRanks = 1 << 16;

struct ParallelConfig {
  int data = 1;
  int tensor = 1;
  int pipeline = 1;
  std::string order = "data-pipeline-tensor";  // axes of the mesh, outermost first
  bool gather_again = true;                    // of tensor ranks: what weight gradients read
  /// One count per stage; absent: balanced by cost.
  std::optional<std::vector<int>> layers_per_stage;
  std::string transport = "host";  // host | nccl

  friend bool operator==(const ParallelConfig&, const ParallelConfig&) = default;
};

struct ScheduleConfig {
  /// gpipe | 1f1b | 1f1b-v | interleaved | zb-1p | zb-2p | v-min | v-half | v-zb | w4 | auto
  std::string name = "v-half";
  int num_chunks = 2;  // stages per rank, for interleaved only
  bool exact = false;  // the orders of the catalogue, though unequal costs have better ones
  // Of activations, see memory_limit.h: on every rank, or in its place on each; both empty: what
  // the machine has.
  std::string memory_limit;
  std::vector<std::string> rank_memory_limits;  // [pipeline rank]
  // Of a search.
  std::string objective = "makespan";   // span | makespan
  double search_seconds = 1.0;          // on rank 0
  std::int64_t search_evaluations = 0;  // in place of seconds; 0: seconds count
  std::int64_t replan_after = 0;        // steps of a run; 0: never

  friend bool operator==(const ScheduleConfig&, const ScheduleConfig&) = default;
};

/// More threads than any machine has cores; a larger number is a slip.
inline constexpr int kMostThreads = 1024;

struct DeviceConfig {
  std::string kind = "cpu";         // cpu | modelled
  int threads_per_rank = 0;         // 0 = auto: CPUs that the rank may use / ranks on them
  bool pin_threads = false;         // keep each thread on a CPU of its own
  bool cuda_graphs = false;         // enqueue each pass in one call
  bool tune = false;                // measure which algorithms are the quickest
  std::string attention = "flash";  // of GPUs: flash | cudnn | auto
  std::string attention_reason;     // once it is decided: cuDNN's version, or why auto is flash
  std::vector<std::int64_t> free_bytes;    // of GPUs, [pipeline rank]: for a rank; empty: not asked
  std::string hardware;                    // of modelled devices: path of a hardware profile
  std::optional<HardwareProfile> profile;  // what that file says, once it is read

  friend bool operator==(const DeviceConfig&, const DeviceConfig&) = default;
};

inline bool is_modelled(const DeviceConfig& device) {
  return device.kind == "modelled";
}

struct OutputConfig {
  std::string dir = "runs/default";
  std::int64_t checkpoint_every = 0;      // steps; 0 = only at the end
  bool asynchronous_checkpoints = false;  // written while the training goes on
  int keep = 3;                           // newest checkpoints that stay; 0 = all
  bool trace = false;                     // write the timeline of one step as Chrome trace JSON

  friend bool operator==(const OutputConfig&, const OutputConfig&) = default;
};

struct DebugConfig {
  double timeout_seconds = 300.0;  // without progress, until a rank gives up; 0 = never
  bool sync_kernels = false;       // wait for each operation of a GPU

  friend bool operator==(const DebugConfig&, const DebugConfig&) = default;
};

struct RunConfig {
  model::TransformerConfig model;
  data::DataConfig data;
  TrainConfig train;
  optimizer::OptimizerConfig optimizer;
  ParallelConfig parallel;
  ScheduleConfig schedule;
  DeviceConfig device;
  OutputConfig output;
  DebugConfig debug;

  /// Micro-batches per optimizer step and data-parallel replica: m.
  [[nodiscard]] int num_micro_batches() const {
    return train.global_batch_size / (train.micro_batch_size * parallel.data);
  }
  /// Of one optimizer step, all replicas together.
  [[nodiscard]] std::int64_t tokens_per_step() const {
    return static_cast<std::int64_t>(train.global_batch_size) * model.seq_len;
  }
  /// Whether ranks go on with the next step before the norm of this one is known. What `auto` comes
  /// to a job's plan decides; until then it is off.
  [[nodiscard]] bool steps_early() const { return optimizer.post_validation == "on"; }
  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

}  // namespace halfpipe::config
