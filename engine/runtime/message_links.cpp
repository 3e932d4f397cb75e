// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/message_links.h"

#include <algorithm>

#include "kernels/core/align.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

MessageLinks::MessageLinks(device::Backend& backend,
                           transport::Transport& transport,
                           device::Stream& compute,
                           std::int64_t message_bytes,
                           int num_buffers)
    : transport_(transport),
      compute_(compute),
      communication_(backend.make_stream("communication")),
      produced_(backend.make_event()),
      message_bytes_(static_cast<std::size_t>(message_bytes)),
      stride_(padded_bytes(message_bytes_)),
      memory_(
          backend, stride_ * static_cast<std::size_t>(num_buffers), transport.message_memory()) {}

void MessageLinks::prepare(const schedule::Plan& plan) {
  requests_.resize(std::max(requests_.size(), plan.messages.size()));
  is_under_way_.resize(requests_.size(), false);
}

std::byte* MessageLinks::buffer(int index) const {
  return index == schedule::kNone ? nullptr : bytes_of(index);
}

transport::Request& MessageLinks::request_to_begin(int message) {
  const auto index = static_cast<std::size_t>(message);
  HALFPIPE_CHECK(!is_under_way_[index], "a message is begun a second time");
  is_under_way_[index] = true;
  return requests_[index];
}

transport::Request MessageLinks::request_to_end(int message) {
  const auto index = static_cast<std::size_t>(message);
  HALFPIPE_CHECK(is_under_way_[index], "a message is waited for that is not under way");
  is_under_way_[index] = false;
  return requests_[index];
}

void MessageLinks::post_recv(const schedule::Plan& plan, const schedule::Instruction& instruction) {
  const schedule::Message& message = plan.messages[static_cast<std::size_t>(instruction.message)];
  request_to_begin(instruction.message) = transport_.post_recv(
      {bytes_of(instruction.output_buffer), message_bytes_}, message.src_rank, compute_);
}

void MessageLinks::wait_recv(const schedule::Instruction& instruction) {
  transport_.wait(request_to_end(instruction.message), compute_);
}

void MessageLinks::send(const schedule::Plan& plan, const schedule::Instruction& instruction) {
  const schedule::Message& message = plan.messages[static_cast<std::size_t>(instruction.message)];
  compute_.record(*produced_);
  communication_->wait_for(*produced_);
  request_to_begin(instruction.message) = transport_.send(
      {bytes_of(instruction.input_buffer), message_bytes_}, message.dst_rank, *communication_);
}

void MessageLinks::wait_send(const schedule::Instruction& instruction) {
  transport_.wait(request_to_end(instruction.message), compute_);
}

void MessageLinks::take_back(const schedule::Plan& plan,
                             const schedule::RankPlan& program,
                             const schedule::WarmUp& warm_up) {
  // Every receive is posted before anything is waited for: a send may wait for its receive.
  for (const std::size_t i : warm_up.posts_to_make) post_recv(plan, program.instructions[i]);
  for (const std::size_t i : warm_up.receives_to_finish) wait_recv(program.instructions[i]);
  for (const std::size_t i : warm_up.sends_to_finish) wait_send(program.instructions[i]);
}

}  // namespace halfpipe::runtime
