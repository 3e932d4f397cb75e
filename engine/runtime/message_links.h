// SPDX-License-Identifier: Apache-2.0
// The message buffers of one pipeline rank and what moves through them, exactly as its plan says.
#pragma once

#include <memory>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"
#include "parallel/schedule/plan.h"
#include "parallel/schedule/warm_up.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class MessageLinks {
 public:
  /// Takes num_buffers buffers of message_bytes each. compute is the stream that the passes run on.
  MessageLinks(device::Backend& backend,
               transport::Transport& transport,
               device::Stream& compute,
               std::int64_t message_bytes,
               int num_buffers);

  /// Makes room for the requests of a plan, so that running it allocates nothing.
  void prepare(const schedule::Plan& plan);

  /// kNone gives null.
  [[nodiscard]] std::byte* buffer(int index) const;
  [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }

  void post_recv(const schedule::Plan& plan, const schedule::Instruction& instruction);
  void wait_recv(const schedule::Instruction& instruction);
  void send(const schedule::Plan& plan, const schedule::Instruction& instruction);
  void wait_send(const schedule::Instruction& instruction);

  /// Finishes what a program's warm-up has begun, so that it can run again from the start; what
  /// arrives is of no use. Collective. The program is that of this rank.
  void take_back(const schedule::Plan& plan,
                 const schedule::RankPlan& program,
                 const schedule::WarmUp& warm_up);

 private:
  [[nodiscard]] std::byte* bytes_of(int index) const {
    return memory_.bytes_pointer() + static_cast<std::size_t>(index) * stride_;
  }
  /// Of a message that is not under way, which it is from then on.
  transport::Request& request_to_begin(int message);
  /// Of one that is, and is not from then on.
  transport::Request request_to_end(int message);

  transport::Transport& transport_;
  device::Stream& compute_;
  std::unique_ptr<device::Stream> communication_;  // sends leave from here, beside the passes
  std::unique_ptr<device::Event> produced_;
  std::size_t message_bytes_;
  std::size_t stride_;
  device::Buffer memory_;
  std::vector<transport::Request> requests_;  // [messages of the plan]
  std::vector<bool> is_under_way_;            // [messages of the plan]
};

}  // namespace halfpipe::runtime
