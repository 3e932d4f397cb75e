// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/stage_costs.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "engine/model/model_cost.h"
#include "engine/model/stage.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/modelled_tensor_group.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "kernels/device/buffer.h"
#include "kernels/modelled/modelled_backend.h"
#include "kernels/modelled/modelled_stream.h"

namespace halfpipe::runtime {

namespace {

/// Runs the passes of stages on a modelled device, where they cost nothing but numbers.
class PassClock {
 public:
  explicit PassClock(const config::RunConfig& config)
      : config_(config),
        model_(model::all_parameters(config.model)),
        backend_(modelled::make_work_counter(device_model_of(config))) {
    if (config.parallel.tensor > 1) tensor_.emplace(config);
  }

  void time(const model::StageLayers& layers, schedule::StageCost& cost);

 private:
  const config::RunConfig& config_;
  std::vector<model::ParameterSpec> model_;
  std::unique_ptr<device::Backend> backend_;
  std::optional<ModelledTensorGroup> tensor_;
};

void PassClock::time(const model::StageLayers& layers, schedule::StageCost& cost) {
  const std::int64_t B = config_.train.micro_batch_size;
  const std::int64_t T = config_.model.seq_len;
  model::ParameterSet parameters(tensor_shard_of(config_.parallel));
  const model::Stage stage(config_.model, model_, layers, B, parameters);
  parameters.allocate(*backend_, config_.model.dtype);

  const device::Buffer scratch(*backend_, stage.workspace_bytes(*backend_, parameters, B));
  device::Arena workspace(scratch.bytes_pointer(), scratch.bytes());
  std::array<device::Buffer, model::kNumLifetimes> memory;
  std::array<std::byte*, model::kNumLifetimes> bases{};
  for (std::size_t i = 0; i < memory.size(); ++i) {
    memory[i] = device::Buffer(*backend_, stage.layout().bytes(static_cast<model::Lifetime>(i)));
    bases[i] = memory[i].bytes_pointer();
  }
  const auto tokens = static_cast<std::size_t>(B * T);
  const device::Buffer ids(*backend_, tokens * sizeof(std::int32_t));
  const device::Buffer activation(
      *backend_,
      tokens * static_cast<std::size_t>(config_.model.hidden_size) * size_of(config_.model.dtype));
  const model::StageIo io{
      .input = activation.bytes_pointer(),
      .output = activation.bytes_pointer(),
      .tokens = ids.as<std::int32_t>(),
      .loss = {.targets = ids.as<std::int32_t>(), .losses = ids.as<float>(), .scale = 1.0F}};

  modelled::ModelledStream stream;
  model::PassContext ctx{backend_->ops(),
                         stream,
                         workspace,
                         B,
                         T,
                         config_.model.dtype,
                         parameters.shard(),
                         tensor_ ? &*tensor_ : nullptr};
  model::LiveBytes live;
  model::SavedTensors saved(stage.layout(), bases, live);
  stage.forward(ctx, parameters, io, saved, *backend_);
  cost.forward_seconds = stream.work_seconds();
  stage.backward_input(ctx, parameters, io, saved, *backend_);
  cost.backward_input_seconds = stream.work_seconds() - cost.forward_seconds;
  stage.backward_weight(ctx, parameters, saved);
  cost.backward_weight_seconds =
      stream.work_seconds() - cost.forward_seconds - cost.backward_input_seconds;
}

}  // namespace

bool costs_are_seconds(const config::RunConfig& config) {
  return is_modelled(config.device);
}

schedule::CostModel stage_costs(const config::RunConfig& config,
                                const std::vector<model::StageLayers>& stage_map) {
  schedule::CostModel costs = model::estimate_costs(
      config.model, stage_map, config.train.micro_batch_size, tensor_shard_of(config.parallel));
  if (!is_modelled(config.device)) return costs;
  PassClock clock(config);
  for (std::size_t stage = 0; stage < stage_map.size(); ++stage) {
    clock.time(stage_map[stage], costs.stages[stage]);
  }
  add_links(*config.device.profile, mesh_of(config.parallel), costs);
  return costs;
}

}  // namespace halfpipe::runtime
