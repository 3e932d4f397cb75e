// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/insert_communication.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/hand_over.h"
#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

constexpr int kNeverWritten = -2;

OpKind kind_of(Pass pass) {
  switch (pass) {
    case Pass::kForward:
      return OpKind::kForward;
    case Pass::kBackwardInput:
      return OpKind::kBackwardInput;
    case Pass::kBackwardWeight:
      return OpKind::kBackwardWeight;
  }
  return OpKind::kForward;
}

/// All hand-overs of a run, and the messages among them in order of rank and program.
struct HandOverTable {
  std::vector<Message> messages;
  std::vector<int> message_of;  // [hand-over]: message, kNone within a rank, or kNeverWritten
  std::vector<std::vector<int>> arriving;  // [dst rank]: messages
  int num_stages;
  int num_micro_batches;

  [[nodiscard]] std::size_t index(const HandOver& hand_over) const {
    return index_of(hand_over, num_stages, num_micro_batches);
  }
};

void require_within(const StageOrders& orders, int rank, const PassOp& op) {
  const bool exists = op.stage >= 0 && op.stage < orders.placement.num_stages() &&
                      op.micro_batch >= 0 && op.micro_batch < orders.num_micro_batches;
  if (exists && orders.placement.rank_of(op.stage) == rank) return;
  throw ScheduleError("schedule " + orders.name + ": rank " + std::to_string(rank) +
                      " is given a pass of stage " + std::to_string(op.stage) + ", micro-batch " +
                      std::to_string(op.micro_batch) + ", which is not its own");
}

HandOverTable find_hand_overs(const StageOrders& orders) {
  const Placement& placement = orders.placement;
  const int num_stages = placement.num_stages();
  const auto num_ranks = static_cast<std::size_t>(placement.num_pipeline_ranks());
  HandOverTable table{{}, {}, {}, num_stages, orders.num_micro_batches};
  table.arriving.resize(num_ranks);
  table.message_of.assign(
      static_cast<std::size_t>(2 * num_stages) * static_cast<std::size_t>(orders.num_micro_batches),
      kNeverWritten);
  std::vector<int> num_sent(num_ranks * num_ranks, 0);  // [src * p + dst]
  for (std::size_t rank = 0; rank < num_ranks; ++rank) {
    for (const PassOp& op : orders.ranks[rank]) {
      require_within(orders, static_cast<int>(rank), op);
      const std::optional<HandOver> output = output_of(op, num_stages);
      if (!output) continue;
      const int dst = placement.rank_of(output->to_stage());
      int& message = table.message_of[table.index(*output)];
      message = kNone;
      if (dst == static_cast<int>(rank)) continue;
      message = static_cast<int>(table.messages.size());
      int& sequence = num_sent[rank * num_ranks + static_cast<std::size_t>(dst)];
      table.messages.push_back({output->is_gradient, output->from_stage, output->to_stage(),
                                output->micro_batch, static_cast<int>(rank), dst, sequence++});
      table.arriving[static_cast<std::size_t>(dst)].push_back(message);
    }
  }
  return table;
}

/// What arrives from one peer.
struct Incoming {
  std::vector<int> in_send_order;  // messages
  std::vector<int> in_use_order;   // the same messages
  std::size_t num_posted = 0;
  std::size_t num_used = 0;
};

/// Writes the program of one rank.
class RankLowering {
 public:
  RankLowering(const StageOrders& orders, const HandOverTable& table, int rank, int depth)
      : orders_(orders),
        table_(table),
        passes_(orders.ranks[static_cast<std::size_t>(rank)]),
        depth_(static_cast<std::size_t>(depth)),
        incoming_(orders.ranks.size()),
        outgoing_(orders.ranks.size()) {
    for (const int message : table.arriving[static_cast<std::size_t>(rank)]) {
      from(message).in_send_order.push_back(message);
    }
    for (const PassOp& op : passes_) {
      const int message = incoming_message(op);
      if (message != kNone) from(message).in_use_order.push_back(message);
    }
  }

  [[nodiscard]] std::vector<Instruction> program() {
    for (Incoming& channel : incoming_) post_ahead(channel);
    for (const PassOp& op : passes_) add_pass(op);
    for (const std::vector<int>& sent : outgoing_) {
      const std::size_t num_open = std::min(sent.size(), depth_);
      for (std::size_t k = sent.size() - num_open; k < sent.size(); ++k) {
        add(OpKind::kWaitSend, sent[k]);
      }
    }
    return std::move(program_);
  }

 private:
  void add_pass(const PassOp& op) {
    const int received = incoming_message(op);
    const int sent = outgoing_message(op);
    if (received != kNone) add(OpKind::kWaitRecv, received);
    if (sent != kNone) make_room_to_send(sent);
    program_.push_back(
        {kind_of(op.pass), op.stage, orders_.placement.chunk_of(op.stage), op.micro_batch});
    if (sent != kNone) add(OpKind::kSend, sent);
    if (received != kNone) {
      Incoming& channel = from(received);
      ++channel.num_used;
      post_ahead(channel);
    }
  }

  void make_room_to_send(int message) {
    std::vector<int>& sent = outgoing_[static_cast<std::size_t>(of(message).dst_rank)];
    if (sent.size() >= depth_) add(OpKind::kWaitSend, sent[sent.size() - depth_]);
    sent.push_back(message);
  }

  void post_ahead(Incoming& channel) {
    const std::size_t end = std::min(channel.in_use_order.size(), channel.num_used + depth_);
    for (std::size_t k = channel.num_used; k < end; ++k) {
      const auto last = static_cast<std::size_t>(of(channel.in_use_order[k]).sequence);
      while (channel.num_posted <= last) {
        add(OpKind::kPostRecv, channel.in_send_order[channel.num_posted++]);
      }
    }
  }

  void add(OpKind kind, int message) {
    const Message& m = of(message);
    const bool sends = kind == OpKind::kSend || kind == OpKind::kWaitSend;
    const int own_stage = sends ? m.from_stage : m.to_stage;
    program_.push_back(
        {kind, own_stage, orders_.placement.chunk_of(own_stage), m.micro_batch, message});
  }

  [[nodiscard]] int incoming_message(const PassOp& op) const {
    const std::optional<HandOver> input = input_of(op, table_.num_stages);
    if (!input) return kNone;
    const int message = table_.message_of[table_.index(*input)];
    if (message == kNeverWritten) {
      throw ScheduleError("schedule " + orders_.name + ": no pass makes the " + describe(*input) +
                          ", which stage " + std::to_string(op.stage) + " needs");
    }
    return message;
  }

  [[nodiscard]] int outgoing_message(const PassOp& op) const {
    const std::optional<HandOver> output = output_of(op, table_.num_stages);
    return output ? table_.message_of[table_.index(*output)] : kNone;
  }

  [[nodiscard]] const Message& of(int message) const {
    return table_.messages[static_cast<std::size_t>(message)];
  }
  [[nodiscard]] Incoming& from(int message) {
    return incoming_[static_cast<std::size_t>(of(message).src_rank)];
  }

  const StageOrders& orders_;
  const HandOverTable& table_;
  const std::vector<PassOp>& passes_;
  std::size_t depth_;
  std::vector<Incoming> incoming_;          // [src rank]
  std::vector<std::vector<int>> outgoing_;  // [dst rank], messages in send order
  std::vector<Instruction> program_;
};

}  // namespace

void insert_communication(const StageOrders& orders, int depth, Plan& plan) {
  if (orders.ranks.size() != static_cast<std::size_t>(orders.placement.num_pipeline_ranks())) {
    throw ScheduleError("schedule " + orders.name + " has orders for " +
                        std::to_string(orders.ranks.size()) + " ranks, its placement has " +
                        std::to_string(orders.placement.num_pipeline_ranks()));
  }
  const HandOverTable table = find_hand_overs(orders);
  plan.messages = table.messages;
  plan.ranks.assign(orders.ranks.size(), RankPlan{});
  for (std::size_t rank = 0; rank < orders.ranks.size(); ++rank) {
    plan.ranks[rank].instructions =
        RankLowering(orders, table, static_cast<int>(rank), depth).program();
  }
}

}  // namespace halfpipe::schedule
