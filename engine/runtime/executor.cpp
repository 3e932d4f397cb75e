// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/executor.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace halfpipe::runtime {

namespace {

std::size_t arena_bytes_for(const Job& job, int rank) {
  const auto index = static_cast<std::size_t>(rank);
  return static_cast<std::size_t>(
      std::max(job.training.ranks[index].arena_bytes, job.evaluation.ranks[index].arena_bytes));
}

int num_buffers_for(const Job& job, int rank) {
  const auto index = static_cast<std::size_t>(rank);
  return std::max(job.training.ranks[index].num_message_buffers,
                  job.evaluation.ranks[index].num_message_buffers);
}

double cpu_seconds_of_thread() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class ProfilerRange {
 public:
  ProfilerRange(device::Backend& backend, const char* name) : backend_(backend) {
    backend_.begin_range(name);
  }
  ~ProfilerRange() { backend_.end_range(); }
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;

 private:
  device::Backend& backend_;
};

}  // namespace

Executor::Executor(const Job& job,
                   int pipeline_rank,
                   const RankModel& model,
                   device::Backend& backend,
                   transport::Transport& transport,
                   device::Stream& stream,
                   model::TensorGroup* tensor_or_null)
    : job_(job),
      pipeline_rank_(pipeline_rank),
      model_(model),
      backend_(backend),
      transport_(transport),
      stream_(stream),
      tensor_or_null_(tensor_or_null),
      links_(backend,
             transport,
             stream,
             job.training.message_bytes,
             num_buffers_for(job, pipeline_rank)),
      arena_(backend, arena_bytes_for(job, pipeline_rank)),
      workspace_memory_(backend, model.workspace_bytes(backend)),
      workspace_(workspace_memory_.bytes_pointer(), workspace_memory_.bytes()) {
  const auto index = static_cast<std::size_t>(pipeline_rank);
  links_.prepare(job.training);
  links_.prepare(job.evaluation);
  const std::size_t most = std::max(job.training.ranks[index].instructions.size(),
                                    job.evaluation.ranks[index].instructions.size());
  warm_up_ = schedule::warm_ups(job.training)[index];
  begin_ = backend.make_event();
  settled_ = backend.make_event();
  for (std::size_t i = 0; i < most; ++i) marks_.push_back(backend.make_event());
  times_.reserve(most);
}

void Executor::run(const schedule::Plan& plan,
                   const StepTensors& tensors,
                   std::int64_t step,
                   const Hooks& hooks) {
  const double cpu_seconds_before = cpu_seconds_of_thread();
  begin_run(plan);
  try {
    run_from(0, plan, tensors, step, hooks);
  } catch (...) {
    transport_.give_up_messages();
    throw;
  }
  host_cpu_seconds_ = cpu_seconds_of_thread() - cpu_seconds_before;
}

void Executor::run_after(const StepBefore& before,
                         const StepTensors& tensors,
                         std::int64_t step,
                         const Hooks& hooks) {
  const double cpu_seconds_before = cpu_seconds_of_thread();
  begin_run(job_.training);
  try {
    run_from(run_warm_up(before, tensors, step, hooks), job_.training, tensors, step, hooks);
  } catch (...) {
    transport_.give_up_messages();
    throw;
  }
  host_cpu_seconds_ = cpu_seconds_of_thread() - cpu_seconds_before;
}

void Executor::begin_run(const schedule::Plan& plan) {
  num_instructions_ = plan.ranks[static_cast<std::size_t>(pipeline_rank_)].instructions.size();
  first_after_settling_.reset();
  live_.reset_peak();
  stream_.record(*begin_);
}

void Executor::run_from(std::size_t first,
                        const schedule::Plan& plan,
                        const StepTensors& tensors,
                        std::int64_t step,
                        const Hooks& hooks) {
  for (std::size_t i = first; i < num_instructions_; ++i) {
    run_one(i, plan, tensors, step, hooks);
    if (hooks.after) hooks.after(i);
  }
}

void Executor::run_one(std::size_t index,
                       const schedule::Plan& plan,
                       const StepTensors& tensors,
                       std::int64_t step,
                       const Hooks& hooks) {
  if (hooks.before) hooks.before(index);
  const transport::RankStatus status = status_of(plan, index, step);
  transport_.publish(status);
  const ProfilerRange range(backend_, status.text);
  execute(plan, index, tensors);
  stream_.record(*marks_[index]);
}

std::size_t Executor::run_warm_up(const StepBefore& before,
                                  const StepTensors& tensors,
                                  std::int64_t step,
                                  const Hooks& hooks) {
  const schedule::RankPlan& program = job_.training.ranks[static_cast<std::size_t>(pipeline_rank_)];
  auto later = warm_up_.later_posts.begin();
  for (std::size_t i = 0; i < warm_up_.num_instructions; ++i) {
    if (later == warm_up_.later_posts.end() || *later != i) {
      run_one(i, job_.training, tensors, step, hooks);
      continue;
    }
    ++later;
    stream_.record(*marks_[i]);
  }
  if (before.settle()) {
    for (const std::size_t i : warm_up_.later_posts) {
      links_.post_recv(job_.training, program.instructions[i]);
    }
    stream_.record(*settled_);
    first_after_settling_ = warm_up_.num_instructions;
    return warm_up_.num_instructions;
  }
  links_.take_back(job_.training, program, warm_up_);
  live_.forget_all();
  before.put_right();
  stream_.record(*begin_);
  return 0;
}

void Executor::warm_up(const schedule::Plan& plan,
                       const StepTensors& tensors,
                       model::TensorGroup* tensor_or_null) {
  using enum schedule::OpKind;
  const schedule::RankPlan& program = plan.ranks[static_cast<std::size_t>(pipeline_rank_)];
  for (int chunk = 0; chunk < job_.placement.num_chunks(); ++chunk) {
    int micro_batch = -1;  // whose saved tensors are written, read and let go
    for (const schedule::OpKind kind : {kForward, kBackwardInput, kBackwardWeight}) {
      const auto pass = std::ranges::find_if(program.instructions, [&](const auto& instruction) {
        return instruction.kind == kind && instruction.chunk == chunk &&
               (micro_batch < 0 || instruction.micro_batch == micro_batch);
      });
      HALFPIPE_CHECK(pass != program.instructions.end(), "a micro-batch lacks a pass");
      micro_batch = pass->micro_batch;
      run_pass(*pass, program, tensors, /*forward_only=*/false, tensor_or_null);
    }
  }
}

PassKey Executor::key_of(const schedule::Instruction& instruction,
                         const schedule::RankPlan& program) const {
  const schedule::SavedSlot& slot = program.saved[static_cast<std::size_t>(instruction.saved_slot)];
  const model::StageLayers& layers = model_.stage(instruction.chunk).layers();
  return {.kind = instruction.kind,
          .chunk = instruction.chunk,
          .input_buffer = instruction.input_buffer,
          .output_buffer = instruction.output_buffer,
          .forward_to_backward_input_offset = slot.forward_to_backward_input_offset,
          .forward_to_backward_weight_offset = slot.forward_to_backward_weight_offset,
          .backward_input_to_backward_weight_offset = slot.backward_input_to_backward_weight_offset,
          .micro_batch = layers.has_embedding || layers.has_head ? instruction.micro_batch : 0};
}

void Executor::record_passes(const StepTensors& tensors) {
  const schedule::RankPlan& program = job_.training.ranks[static_cast<std::size_t>(pipeline_rank_)];
  recorded_ = {};
  recorded_tensors_ = tensors;
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    const schedule::Instruction& instruction = program.instructions[i];
    if (instruction.message != schedule::kNone) continue;
    recorded_.add(i, key_of(instruction, program), backend_, stream_, live_, [&] {
      run_pass(instruction, program, tensors, /*forward_only=*/false, tensor_or_null_);
    });
  }
  HALFPIPE_CHECK(live_.current() == 0, "the passes of a step left saved tensors alive");
}

void Executor::execute(const schedule::Plan& plan, std::size_t index, const StepTensors& tensors) {
  using enum schedule::OpKind;
  const schedule::RankPlan& program = plan.ranks[static_cast<std::size_t>(pipeline_rank_)];
  const schedule::Instruction& instruction = program.instructions[index];
  switch (instruction.kind) {  // no default: -Wswitch finds a missing kind
    case kForward:
    case kBackwardInput:
    case kBackwardWeight:
      if (&plan == &job_.training && recorded_.num_recordings() > 0) {
        HALFPIPE_CHECK(tensors == recorded_tensors_, "a step on other tensors than were recorded");
        recorded_.enqueue(index, stream_, live_);
        break;
      }
      run_pass(instruction, program, tensors, plan.forward_only, tensor_or_null_);
      break;
    case kPostRecv:
      links_.post_recv(plan, instruction);
      break;
    case kWaitRecv:
      links_.wait_recv(instruction);
      // Each operation is waited for: the first one after this would wait for the peer, unwatched.
      if (job_.config.debug.sync_kernels) transport_.synchronize(stream_);
      break;
    case kSend:
      links_.send(plan, instruction);
      break;
    case kWaitSend:
      links_.wait_send(instruction);
      break;
  }
}

void Executor::read_times(const device::Event& origin) {
  // An instruction begins when the one before it has ended: a stream runs in order.
  times_.clear();
  double start = begin_->seconds_since(origin);
  for (std::size_t i = 0; i < num_instructions_; ++i) {
    if (i == first_after_settling_) start = settled_->seconds_since(origin);
    const double end = marks_[i]->seconds_since(origin);
    times_.push_back({start, end});
    start = end;
  }
}

model::SavedTensors Executor::saved_tensors(const schedule::Instruction& instruction,
                                            const schedule::RankPlan& program) {
  const schedule::SavedSlot& slot = program.saved[static_cast<std::size_t>(instruction.saved_slot)];
  std::byte* base = arena_.bytes_pointer();
  return {
      model_.stage(instruction.chunk).layout(),
      {base + slot.forward_to_backward_input_offset, base + slot.forward_to_backward_weight_offset,
       base + slot.backward_input_to_backward_weight_offset},
      live_};
}

void Executor::run_pass(const schedule::Instruction& instruction,
                        const schedule::RankPlan& program,
                        const StepTensors& tensors,
                        bool forward_only,
                        model::TensorGroup* tensor_or_null) {
  const model::Stage& stage = model_.stage(instruction.chunk);
  const model::ParameterSet& parameters = model_.parameters();
  const std::int64_t B = job_.config.train.micro_batch_size;
  const std::int64_t T = job_.config.model.seq_len;
  const std::int64_t first_token = instruction.micro_batch * B * T;
  const bool first = stage.layers().has_embedding;
  const bool last = stage.layers().has_head;
  const device::ArenaScope scope(workspace_);
  model::PassContext ctx{
      backend_.ops(),     stream_,       workspace_, B, T, job_.config.model.dtype,
      parameters.shard(), tensor_or_null};
  model::SavedTensors saved = saved_tensors(instruction, program);
  const model::StageIo io{.input = links_.buffer(instruction.input_buffer),
                          .output = links_.buffer(instruction.output_buffer),
                          .tokens = first ? tensors.tokens + first_token : nullptr,
                          .loss = {.targets = last ? tensors.targets + first_token : nullptr,
                                   .losses = last ? tensors.losses + first_token : nullptr,
                                   .scale = tensors.loss_scale}};
  switch (instruction.kind) {
    case schedule::OpKind::kForward:
      stage.forward(ctx, parameters, io, saved, backend_);
      if (forward_only) stage.discard(saved);
      return;
    case schedule::OpKind::kBackwardInput:
      stage.backward_input(ctx, parameters, io, saved, backend_);
      return;
    case schedule::OpKind::kBackwardWeight:
      stage.backward_weight(ctx, parameters, saved);
      return;
    case schedule::OpKind::kPostRecv:
    case schedule::OpKind::kWaitRecv:
    case schedule::OpKind::kSend:
    case schedule::OpKind::kWaitSend:
      break;
  }
  HALFPIPE_CHECK(false, "not a pass");
}

transport::RankStatus Executor::status_of(const schedule::Plan& plan,
                                          std::size_t index,
                                          std::int64_t step) const {
  const schedule::Instruction& instruction =
      plan.ranks[static_cast<std::size_t>(pipeline_rank_)].instructions[index];
  transport::RankStatus status;
  status.step = step;
  status.instruction = static_cast<std::int32_t>(index);
  if (instruction.message == schedule::kNone) {
    std::snprintf(status.text, sizeof(status.text), "%s of micro-batch %d on stage %d",
                  schedule::name_of(instruction.kind), instruction.micro_batch, instruction.stage);
  } else {
    const schedule::Message& message = plan.messages[static_cast<std::size_t>(instruction.message)];
    status.peer = message.src_rank == pipeline_rank_ ? message.dst_rank : message.src_rank;
    std::snprintf(status.text, sizeof(status.text), "%s (%s of micro-batch %d, stage %d to %d)",
                  schedule::name_of(instruction.kind),
                  message.is_gradient ? "gradient" : "activation", message.micro_batch,
                  message.from_stage, message.to_stage);
  }
  return status;
}

}  // namespace halfpipe::runtime
