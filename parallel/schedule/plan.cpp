// SPDX-License-Identifier: Apache-2.0
// The plan as bytes: how it travels from rank 0 to the others, and its digest.
#include "parallel/schedule/plan.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

constexpr std::uint32_t kMagic = 0x48504c4e;  // "HPLN"
constexpr std::uint32_t kFormat = 1;

// Every value is written on its own, so that padding inside the structs reaches neither the bytes
// nor the digest.
class Writer {
 public:
  template <typename T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), first, first + sizeof(T));
  }
  void put(const std::string& text) {
    put(static_cast<std::uint64_t>(text.size()));
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), first, first + text.size());
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(const std::vector<std::byte>& bytes) : bytes_(bytes) {}

  template <typename T>
  [[nodiscard]] T get() {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    require(sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  [[nodiscard]] bool get_bool() { return get_up_to(1) != 0; }
  /// A byte that must not exceed `last`: an enumerator or a flag.
  [[nodiscard]] std::uint8_t get_up_to(std::uint8_t last) {
    const auto value = get<std::uint8_t>();
    if (value > last) fail("value " + std::to_string(value) + " is above " + std::to_string(last));
    return value;
  }
  /// Length of a list whose elements take at least `element_bytes` each: checked against what is
  /// left, so that a damaged length cannot make the reader allocate without bound.
  [[nodiscard]] std::size_t get_length(std::size_t element_bytes) {
    const auto length = get<std::uint64_t>();
    if (length > (bytes_.size() - position_) / element_bytes)
      fail("a list is longer than the rest");
    return static_cast<std::size_t>(length);
  }
  [[nodiscard]] std::string get_text() {
    const std::size_t length = get_length(1);
    std::string text(reinterpret_cast<const char*>(bytes_.data() + position_), length);
    position_ += length;
    return text;
  }
  void expect_end() const {
    if (position_ != bytes_.size()) fail("bytes follow the end");
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw ScheduleError("these " + std::to_string(bytes_.size()) +
                        " bytes are not a plan: at byte " + std::to_string(position_) + ", " + why);
  }

 private:
  void require(std::size_t count) const {
    if (bytes_.size() - position_ < count) fail("they end too early");
  }

  const std::vector<std::byte>& bytes_;
  std::size_t position_ = 0;
};

constexpr std::size_t kInstructionBytes = 1 + 7 * sizeof(int);
constexpr std::size_t kSavedSlotBytes = 2 * sizeof(int) + 3 * sizeof(std::int64_t);
constexpr std::size_t kMessageBytes = 1 + 6 * sizeof(int);
constexpr std::size_t kRankPlanBytes = 4 * sizeof(std::uint64_t) + sizeof(int);

void put(Writer& out, const Instruction& i) {
  out.put(i.kind);
  for (const int value : {i.stage, i.chunk, i.micro_batch, i.message, i.input_buffer,
                          i.output_buffer, i.saved_slot}) {
    out.put(value);
  }
}

void put(Writer& out, const SavedSlot& slot) {
  out.put(slot.stage);
  out.put(slot.micro_batch);
  out.put(slot.forward_to_backward_input_offset);
  out.put(slot.forward_to_backward_weight_offset);
  out.put(slot.backward_input_to_backward_weight_offset);
}

void put(Writer& out, const Message& m) {
  out.put(static_cast<std::uint8_t>(m.is_gradient));
  for (const int value :
       {m.from_stage, m.to_stage, m.micro_batch, m.src_rank, m.dst_rank, m.sequence}) {
    out.put(value);
  }
}

template <typename T>
void put_list(Writer& out, const std::vector<T>& list) {
  out.put(static_cast<std::uint64_t>(list.size()));
  for (const T& element : list) put(out, element);
}

void put(Writer& out, const RankPlan& rank) {
  put_list(out, rank.instructions);
  put_list(out, rank.saved);
  out.put(rank.num_message_buffers);
  out.put(rank.peak_activation_bytes);
  out.put(rank.arena_bytes);
}

// The braced initialisers below read in the order in which the writer wrote: C++ evaluates them
// from left to right.

Instruction get_instruction(Reader& in) {
  const auto kind = static_cast<OpKind>(in.get_up_to(static_cast<std::uint8_t>(OpKind::kWaitSend)));
  return {kind,          in.get<int>(), in.get<int>(), in.get<int>(),
          in.get<int>(), in.get<int>(), in.get<int>(), in.get<int>()};
}

SavedSlot get_saved_slot(Reader& in) {
  return {in.get<int>(), in.get<int>(), in.get<std::int64_t>(), in.get<std::int64_t>(),
          in.get<std::int64_t>()};
}

Message get_message(Reader& in) {
  return {in.get_bool(), in.get<int>(), in.get<int>(), in.get<int>(),
          in.get<int>(), in.get<int>(), in.get<int>()};
}

template <typename Get>
auto get_list(Reader& in, std::size_t element_bytes, Get get_element) {
  std::vector<decltype(get_element(in))> list;
  const std::size_t length = in.get_length(element_bytes);
  list.reserve(length);
  for (std::size_t i = 0; i < length; ++i) list.push_back(get_element(in));
  return list;
}

RankPlan get_rank_plan(Reader& in) {
  RankPlan rank;
  rank.instructions = get_list(in, kInstructionBytes, get_instruction);
  rank.saved = get_list(in, kSavedSlotBytes, get_saved_slot);
  rank.num_message_buffers = in.get<int>();
  rank.peak_activation_bytes = in.get<std::int64_t>();
  rank.arena_bytes = in.get<std::int64_t>();
  return rank;
}

Placement get_placement(Reader& in) {
  const auto kind =
      static_cast<PlacementKind>(in.get_up_to(static_cast<std::uint8_t>(PlacementKind::kZigzag)));
  const int num_pipeline_ranks = in.get<int>();
  const int num_chunks = in.get<int>();
  return {kind, num_pipeline_ranks, num_chunks};
}

}  // namespace

const char* name_of(OpKind kind) {
  switch (kind) {
    case OpKind::kForward:
      return "forward";
    case OpKind::kBackwardInput:
      return "backward_input";
    case OpKind::kBackwardWeight:
      return "backward_weight";
    case OpKind::kPostRecv:
      return "post_recv";
    case OpKind::kWaitRecv:
      return "wait_recv";
    case OpKind::kSend:
      return "send";
    case OpKind::kWaitSend:
      return "wait_send";
  }
  return "unknown";
}

std::optional<PassOp> pass_of(const Instruction& instruction) {
  const auto as = [&](Pass pass) {
    return PassOp{pass, instruction.stage, instruction.micro_batch};
  };
  switch (instruction.kind) {
    case OpKind::kForward:
      return as(Pass::kForward);
    case OpKind::kBackwardInput:
      return as(Pass::kBackwardInput);
    case OpKind::kBackwardWeight:
      return as(Pass::kBackwardWeight);
    case OpKind::kPostRecv:
    case OpKind::kWaitRecv:
    case OpKind::kSend:
    case OpKind::kWaitSend:
      return std::nullopt;
  }
  return std::nullopt;
}

std::vector<std::byte> serialize(const Plan& plan) {
  Writer out;
  out.put(kMagic);
  out.put(kFormat);
  out.put(plan.schedule_name);
  out.put(plan.placement.kind());
  out.put(plan.placement.num_pipeline_ranks());
  out.put(plan.placement.num_chunks());
  out.put(plan.num_micro_batches);
  out.put(static_cast<std::uint8_t>(plan.forward_only));
  out.put(plan.message_bytes);
  put_list(out, plan.messages);
  put_list(out, plan.ranks);
  return out.take();
}

Plan deserialize(const std::vector<std::byte>& bytes) {
  Reader in(bytes);
  if (in.get<std::uint32_t>() != kMagic) in.fail("they do not begin as a plan does");
  if (in.get<std::uint32_t>() != kFormat) in.fail("they have another format version");
  std::string schedule_name = in.get_text();
  const Placement placement = get_placement(in);
  const int num_micro_batches = in.get<int>();
  const bool forward_only = in.get_bool();
  const auto message_bytes = in.get<std::int64_t>();
  Plan plan{std::move(schedule_name), placement,   num_micro_batches, forward_only, message_bytes,
            /*messages=*/{},          /*ranks=*/{}};
  plan.messages = get_list(in, kMessageBytes, get_message);
  plan.ranks = get_list(in, kRankPlanBytes, get_rank_plan);
  in.expect_end();
  return plan;
}

std::uint64_t hash_of(const Plan& plan) {
  // FNV-1a (Fowler, Noll, Vo): enough to notice that two ranks hold different plans.
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte byte : serialize(plan)) {
    hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  return hash;
}

}  // namespace halfpipe::schedule
