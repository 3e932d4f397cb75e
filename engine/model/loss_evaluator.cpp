// SPDX-License-Identifier: Apache-2.0
#include "engine/model/loss_evaluator.h"

#include "kernels/core/error.h"
#include "kernels/device/backend.h"

namespace halfpipe::model {

LossEvaluator::LossEvaluator(const TransformerConfig& config,
                             device::Backend& backend,
                             std::int64_t B)
    : config_(config), backend_(backend), B_(B), stream_(backend.make_stream("evaluation")) {
  HALFPIPE_CHECK(config.dtype == DType::kFloat32, "losses are evaluated in float32");
  const StageLayers all{0, 0, config.num_layers, true, true};
  stage_ = std::make_unique<Stage>(config, all_parameters(config), all, B, parameters_);
  parameters_.allocate(backend, config.dtype);
  const SavedLayout& layout = stage_->layout();
  saved_ = device::Buffer(backend, layout.bytes(Lifetime::kForwardToBackwardInput) +
                                       layout.bytes(Lifetime::kForwardToBackwardWeight));
  workspace_ = device::Buffer(backend, stage_->workspace_bytes(backend, parameters_, B));
  const auto count = static_cast<std::size_t>(B * config.seq_len);
  tokens_ = device::Buffer(backend, count * sizeof(std::int32_t));
  targets_ = device::Buffer(backend, count * sizeof(std::int32_t));
  losses_ = device::Buffer(backend, count * sizeof(float));
  host_losses_.resize(count);
}

double LossEvaluator::sum_of_losses(std::span<const std::int32_t> inputs,
                                    std::span<const std::int32_t> targets,
                                    std::int64_t num_targets) {
  HALFPIPE_CHECK(inputs.size_bytes() == tokens_.bytes() && targets.size_bytes() == targets_.bytes(),
                 "windows have the wrong size");
  backend_.copy_async(tokens_.bytes_pointer(), inputs.data(), inputs.size_bytes(), *stream_);
  backend_.copy_async(targets_.bytes_pointer(), targets.data(), targets.size_bytes(), *stream_);
  device::Arena workspace(workspace_.bytes_pointer(), workspace_.bytes());
  PassContext ctx{backend_.ops(), *stream_, workspace, B_, config_.seq_len, config_.dtype};
  std::byte* base = saved_.bytes_pointer();
  SavedTensors saved(
      stage_->layout(),
      {base, base + stage_->layout().bytes(Lifetime::kForwardToBackwardInput), nullptr}, live_);
  const StageIo io{.input = nullptr,
                   .output = nullptr,
                   .tokens = tokens_.as<std::int32_t>(),
                   .loss = {targets_.as<std::int32_t>(), losses_.as<float>(), /*scale=*/0.0F}};
  stage_->forward(ctx, parameters_, io, saved, backend_);
  stage_->discard(saved);
  backend_.copy_async(host_losses_.data(), losses_.bytes_pointer(), losses_.bytes(), *stream_);
  stream_->synchronize();
  double sum = 0.0;
  for (std::int64_t i = 0; i < num_targets; ++i) sum += host_losses_[static_cast<std::size_t>(i)];
  return sum;
}

}  // namespace halfpipe::model
