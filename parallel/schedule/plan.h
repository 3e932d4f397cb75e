// SPDX-License-Identifier: Apache-2.0
// The plan: per pipeline rank a flat list of instructions in which everything that can be decided
// before the first step is decided: order, peers, message buffers, places in the activation arena.
// The executor is a loop over it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/pass.h"
#include "parallel/schedule/placement.h"

namespace halfpipe::schedule {

enum class OpKind : std::uint8_t {
  kForward,
  kBackwardInput,
  kBackwardWeight,
  kPostRecv,  // start to receive `message` into `output_buffer`
  kWaitRecv,  // order later work after the arrival of `message`
  kSend,      // start to send `message` from `input_buffer`
  kWaitSend,  // wait until `message` has left its buffer, so that the buffer can be used again
};

inline constexpr int kNone = -1;

/// One step of a rank's program. Message buffers are numbered 0 .. num_message_buffers-1 on each
/// rank and hold one activation or gradient each; a hand-over between two stages of the same rank
/// is a buffer written by one pass and read by the other, without an instruction of its own.
struct Instruction {
  OpKind kind;
  int stage = kNone;
  int chunk = kNone;
  int micro_batch = kNone;
  int message = kNone;       // index into Plan::messages, for the four communication kinds
  int input_buffer = kNone;  // F: activation read; B: gradient read; kSend: bytes sent
  int output_buffer =
      kNone;               // F: activation written; B: gradient written; kPostRecv: bytes received
  int saved_slot = kNone;  // passes: index into RankPlan::saved of this (stage, micro-batch)

  friend bool operator==(const Instruction&, const Instruction&) = default;
};

/// Byte offsets, in the rank's activation arena, of what one (stage, micro-batch) keeps between its
/// passes.
struct SavedSlot {
  int stage;
  int micro_batch;
  std::int64_t forward_to_backward_input_offset = 0;
  std::int64_t forward_to_backward_weight_offset = 0;
  std::int64_t backward_input_to_backward_weight_offset = 0;

  friend bool operator==(const SavedSlot&, const SavedSlot&) = default;
};

/// An activation (stage s to s+1) or a gradient (stage s+1 to s) that crosses ranks.
struct Message {
  bool is_gradient;
  int from_stage;
  int to_stage;
  int micro_batch;
  int src_rank;
  int dst_rank;
  int sequence;  // k: this is the k-th send from src_rank to dst_rank, and the k-th receive there

  friend bool operator==(const Message&, const Message&) = default;
};

struct RankPlan {
  std::vector<Instruction> instructions;
  std::vector<SavedSlot> saved;
  int num_message_buffers = 0;
  std::int64_t peak_activation_bytes = 0;  // highest sum of live saved bytes
  std::int64_t arena_bytes = 0;            // size of the arena that the offsets need, >= peak

  friend bool operator==(const RankPlan&, const RankPlan&) = default;
};

struct Plan {
  std::string schedule_name;
  Placement placement;
  int num_micro_batches;
  bool forward_only;           // an evaluation plan: no backward passes
  std::int64_t message_bytes;  // of one message buffer
  std::vector<Message> messages;
  std::vector<RankPlan> ranks;  // [num_pipeline_ranks]

  friend bool operator==(const Plan&, const Plan&) = default;
};

/// A readable word for logs: "forward", "backward_input", "wait_recv", ...
[[nodiscard]] const char* name_of(OpKind kind);

/// The pass that an instruction runs; nothing for the four communication kinds.
[[nodiscard]] std::optional<PassOp> pass_of(const Instruction& instruction);

/// Whole plan as bytes, the same on every machine of one byte order; `deserialize` throws
/// ScheduleError on bytes that `serialize` did not write.
[[nodiscard]] std::vector<std::byte> serialize(const Plan& plan);
[[nodiscard]] Plan deserialize(const std::vector<std::byte>& bytes);
/// 64-bit digest of serialize(plan); ranks compare it before the first step.
[[nodiscard]] std::uint64_t hash_of(const Plan& plan);

}  // namespace halfpipe::schedule
