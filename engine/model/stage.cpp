// SPDX-License-Identifier: Apache-2.0
#include "engine/model/stage.h"

#include <algorithm>

#include "kernels/device/backend.h"

namespace halfpipe::model {

namespace {

constexpr std::array<std::byte*, kNumLifetimes> kNoMemory{};

}  // namespace

Stage::Stage(const TransformerConfig& config,
             const std::vector<ParameterSpec>& model,
             const StageLayers& layers,
             std::int64_t B,
             ParameterSet& parameters)
    : layers_(layers),
      C_(config.hidden_size),
      T_(config.seq_len),
      dtype_(config.dtype),
      shard_(parameters.shard()) {
  const std::int64_t count = B * config.seq_len / shard_.ranks * C_;
  if (layers.has_embedding) embedding_.emplace(config, model, parameters);
  for (int i = 0; i < layers.num_blocks; ++i) {
    block_inputs_.push_back(
        layout_.declare(Lifetime::kForwardToBackwardWeight, count, config.dtype));
    blocks_.emplace_back(config, model, layers.first_block + i, recompute_of(config, layers.stage),
                         B, parameters, layout_);
  }
  if (layers.has_head) {
    head_input_ = layout_.declare(Lifetime::kForwardToBackwardInput, count, config.dtype);
    head_.emplace(config, model, B, parameters, layout_);
  }
}

std::size_t Stage::activation_bytes(const PassContext& ctx) const {
  return static_cast<std::size_t>(ctx.rows() * C_) * size_of(ctx.dtype);
}

void Stage::forward(PassContext& ctx,
                    const ParameterSet& parameters,
                    const StageIo& io,
                    SavedTensors& saved,
                    device::Backend& backend) const {
  // Each layer writes straight into the place where the next one keeps its input.
  void* x = !blocks_.empty() ? saved.save(block_inputs_[0])
            : head_          ? saved.save(head_input_)
                             : io.output;
  if (embedding_) {
    embedding_->forward(ctx, parameters, x, io.tokens);
  } else if (!ctx.counting()) {
    backend.copy_async(x, io.input, activation_bytes(ctx), ctx.stream);
  }
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    void* y = i + 1 < blocks_.size() ? saved.save(block_inputs_[i + 1])
              : head_                ? saved.save(head_input_)
                                     : io.output;
    blocks_[i].forward(ctx, parameters, y, x, saved);
    x = y;
  }
  if (head_) head_->forward(ctx, parameters, x, io.loss, saved);
}

void Stage::backward_input(PassContext& ctx,
                           const ParameterSet& parameters,
                           const StageIo& io,
                           SavedTensors& saved,
                           device::Backend& backend) const {
  const device::ArenaScope scope(ctx.workspace);
  for (const Block& block : blocks_) block.begin_backward(saved);
  const void* output_gradient = io.input;
  void* input_gradient = embedding_ ? ctx.take(ctx.rows() * C_) : io.output;
  if (head_) {
    void* dx = blocks_.empty() ? input_gradient : ctx.take(ctx.rows() * C_);
    head_->backward_input(ctx, parameters, dx, saved.get(head_input_), saved);
    saved.release(head_input_);
    output_gradient = dx;
  }
  const void* dy = output_gradient;
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    const std::byte* x = saved.get(block_inputs_[i]);
    void* dx = i == 0 ? input_gradient : saved.get(block_inputs_[i]);
    blocks_[i].backward_input(ctx, parameters, dx, dy, x, saved);
    dy = dx;
  }
  if (embedding_) embedding_->backward_input(ctx, parameters, dy, io.tokens);
  if (ctx.counting()) return;
  if (!blocks_.empty()) {
    backend.copy_async(saved.get(block_inputs_[0]), output_gradient, activation_bytes(ctx),
                       ctx.stream);
  } else if (!head_ && !embedding_) {
    backend.copy_async(io.output, output_gradient, activation_bytes(ctx), ctx.stream);
  }
}

const std::byte* Stage::saved_gradient(std::size_t index, const SavedTensors& saved) const {
  return saved.get(block_inputs_[index + 1 < blocks_.size() ? index + 1 : 0]);
}

void Stage::backward_weight(PassContext& ctx,
                            const ParameterSet& parameters,
                            SavedTensors& saved) const {
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i].backward_weight(ctx, parameters, saved_gradient(i, saved), saved);
  }
  for (const int id : block_inputs_) saved.release(id);
}

void Stage::discard(SavedTensors& saved) const {
  for (const Block& block : blocks_) block.discard(saved);
  for (const int id : block_inputs_) saved.release(id);
  if (head_) {
    head_->discard(saved);
    saved.release(head_input_);
  }
}

std::size_t Stage::workspace_bytes(device::Backend& backend,
                                   const ParameterSet& parameters,
                                   std::int64_t B) const {
  const std::unique_ptr<device::Stream> stream = backend.make_stream("counting");
  device::Arena counting = device::Arena::counting();
  PassContext ctx{backend.ops(), *stream, counting, B, T_, dtype_, shard_};
  LiveBytes live;
  SavedTensors saved(layout_, kNoMemory, live);
  const StageIo io{};
  forward(ctx, parameters, io, saved, backend);
  backward_input(ctx, parameters, io, saved, backend);
  backward_weight(ctx, parameters, saved);
  return counting.high_water();
}

}  // namespace halfpipe::model
