// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/list_scheduler.h"

#include <algorithm>
#include <limits>

namespace halfpipe::schedule {
namespace {

constexpr double kRounding = 1e-6;  // bytes
constexpr double kNever = std::numeric_limits<double>::infinity();

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

/// Of one micro-batch on one stage, F to W.
std::int64_t most_bytes(const Instance& instance, int stage) {
  const Row& forward = instance.row(instance.row_of(Pass::kForward, stage));
  const Row& backward = instance.row(instance.row_of(Pass::kBackwardInput, stage));
  return forward.rise + backward.rise;
}

}  // namespace

ListScheduler::ListScheduler(const Instance& instance)
    : instance_(instance), num_chunks_(instance.placement.num_chunks()) {
  head_of_row_.resize(at(2 * instance.num_stages));
  for (int rank = 0; rank < instance.num_ranks; ++rank) {
    for (int row = 0; row < 2 * instance.num_stages; ++row) {
      const Row& of = instance.row(row);
      if (of.rank != rank) continue;
      head_of_row_[at(row)] = heads_.size();
      heads_.push_back({row, of.chunk, of.pass == Pass::kForward, of.rise, 0, 0.0, kNever});
    }
  }
  target_.resize(at(2 * instance.num_stages));
  cap_.resize(at(instance.num_ranks * num_chunks_));
}

void ListScheduler::set_targets(const ListPolicy& policy) {
  const double unit = instance_.mean_pass_seconds;
  interval_ = policy.interval * instance_.busiest_seconds;
  double time = 0.0;
  const int num_legs = 2 * num_chunks_;
  const int hops = instance_.num_ranks;
  for (int leg = 0; leg < num_legs; ++leg) {
    for (int hop = 0; hop < hops; ++hop) {
      const int place = leg * hops + hop;  // on the way through F of all stages and back through B
      const bool forward = leg < num_chunks_;
      const int stage = forward ? place : 2 * instance_.num_stages - 1 - place;
      const int row = instance_.row_of(forward ? Pass::kForward : Pass::kBackwardInput, stage);
      time += instance_.row(row).input_delay;
      target_[at(row)] = time;
      time += instance_.row(row).seconds;
      if (hop + 1 < hops) {
        time += policy.hop_gaps[at(leg)] * unit;
      } else if (leg + 1 < num_legs) {
        time += policy.turn_gaps[at(leg)] * unit;
      }
    }
  }
  for (std::size_t row = 0; row < policy.target_noise.size(); ++row) {
    target_[row] += policy.target_noise[row] * unit;
  }
}

void ListScheduler::set_caps(const ListPolicy& policy) {
  const auto bytes_of = [this](int rank, int chunk) {
    return most_bytes(instance_, instance_.placement.stage_of(rank, chunk));
  };
  for (int rank = 0; rank < instance_.num_ranks; ++rank) {
    std::int64_t headroom = 0;  // what a B may need for a moment
    for (int chunk = 0; chunk < num_chunks_; ++chunk) {
      const int stage = instance_.placement.stage_of(rank, chunk);
      headroom =
          std::max(headroom, instance_.row(instance_.row_of(Pass::kBackwardInput, stage)).rise);
    }
    const double place = static_cast<double>(rank) / instance_.num_ranks;
    const double early = policy.early_cap - policy.early_cap_slope * place;
    const double shift = policy.cap_shift.empty()
                             ? 0.0
                             : policy.cap_shift[at(rank)] * static_cast<double>(bytes_of(rank, 0));
    std::int64_t earlier = 0;  // one micro-batch on each chunk up to this one
    for (int chunk = 0; chunk < num_chunks_; ++chunk) earlier += bytes_of(rank, chunk);
    const std::int64_t limit = instance_.memory_limit[at(rank)];
    std::int64_t cap = limit - headroom;
    for (int chunk = num_chunks_ - 1; chunk >= 0; --chunk) {
      if (chunk + 1 < num_chunks_) {
        cap -= bytes_of(rank, chunk + 1);  // whatever is taken, the next chunk can have its turn
        const double share = 1.0 - (1.0 - early) * (num_chunks_ - 1 - chunk) / (num_chunks_ - 1);
        const auto wanted =
            static_cast<std::int64_t>(share * static_cast<double>(limit) + shift + kRounding);
        cap = std::min(cap, std::max(wanted, earlier));
      }
      cap_[at(rank * num_chunks_ + chunk)] = cap;
      earlier -= bytes_of(rank, chunk);
    }
  }
}

void ListScheduler::reset(RowOrders& orders) {
  const std::size_t ranks = at(instance_.num_ranks);
  arrival_.assign(at(2 * instance_.num_stages) * at(instance_.num_micro_batches), kNever);
  free_.assign(ranks, 0.0);
  live_.assign(ranks, 0);
  chunk_live_.assign(ranks * at(num_chunks_), 0);
  pending_.resize(ranks);
  for (std::vector<RowOp>& pending : pending_) pending.clear();
  first_pending_.assign(ranks, 0);
  wake_.assign(ranks, kNever);
  orders.resize(ranks);
  for (std::vector<RowOp>& order : orders) order.clear();
  for (int micro_batch = 0; micro_batch < instance_.num_micro_batches; ++micro_batch) {
    arrival_[at(micro_batch)] = 0.0;  // F of stage 0 is row 0
  }
  for (Head& head : heads_) {
    head.micro_batch = -1;
    move_on(head);
  }
  wake_[at(instance_.row(0).rank)] = 0.0;
}

bool ListScheduler::run(const ListPolicy& policy, RowOrders& orders) {
  set_targets(policy);
  set_caps(policy);
  reset(orders);
  for (;;) {
    const auto first = std::min_element(wake_.begin(), wake_.end());
    if (*first == kNever) break;
    decide(static_cast<int>(first - wake_.begin()), *first, policy, orders);
  }
  std::size_t num_ordered = 0;
  for (const std::vector<RowOp>& order : orders) num_ordered += order.size();
  return num_ordered == instance_.num_ops();
}

void ListScheduler::move_on(Head& head) {
  ++head.micro_batch;
  head.arrival = kNever;
  if (head.micro_batch == instance_.num_micro_batches) return;
  head.arrival = arrival_[instance_.index_of({head.row, head.micro_batch})];
  head.target = target_of(head.row, head.micro_batch);
}

bool ListScheduler::admits(int rank, const Head& head) const {
  if (!head.is_forward) {
    return live_[at(rank)] + head.rise <= instance_.memory_limit[at(rank)];
  }
  std::int64_t sum = head.rise;
  for (int chunk = 0; chunk < num_chunks_; ++chunk) {
    sum += chunk_live_[at(rank * num_chunks_ + chunk)];
    if (chunk >= head.chunk && sum > cap_[at(rank * num_chunks_ + chunk)]) return false;
  }
  return true;
}

ListScheduler::View ListScheduler::look(int rank, double now, const ListPolicy& policy) const {
  View view{nullptr, kNever, kNever, kNever};
  const double eagerness = policy.eagerness * instance_.mean_pass_seconds;
  const auto per_rank = at(2 * num_chunks_);
  const Head* const first = heads_.data() + at(rank) * per_rank;
  for (const Head* head = first; head != first + per_rank; ++head) {
    if (head->arrival > now) {
      if (head->arrival == kNever) continue;
      view.next_arrival = std::min(view.next_arrival, head->arrival);
      // A W in the meantime would make room for it.
      if (admits(rank, *head)) view.next_start = std::min(view.next_start, head->arrival);
      continue;
    }
    if (!admits(rank, *head)) {
      view.blocked_target = std::min(view.blocked_target, head->target);
      continue;
    }
    if (head->is_forward && now < head->target - eagerness) {
      view.next_arrival = std::min(view.next_arrival, head->target - eagerness);
      view.next_start = std::min(view.next_start, head->target - eagerness);
      continue;
    }
    if (view.best == nullptr || head->target < view.best->target) view.best = head;
  }
  return view;
}

bool ListScheduler::weight_comes_first(int rank,
                                       double now,
                                       const View& view,
                                       const ListPolicy& policy) const {
  if (first_pending_[at(rank)] == pending_[at(rank)].size()) return false;
  const RowOp weight = pending_[at(rank)][first_pending_[at(rank)]];
  const bool something_lacks_memory = view.blocked_target < kNever;
  if (view.best == nullptr) {
    if (policy.weights_make_room && something_lacks_memory) return true;
    const double seconds = instance_.row(weight.row).seconds;
    return view.next_start >= now + (1.0 - policy.weight_overhang) * seconds;
  }
  if (policy.weights_make_room && view.blocked_target < view.best->target) return true;
  const int own_backward = weight.row - instance_.num_stages;
  return target_of(own_backward, weight.micro_batch) +
             policy.weight_delay * instance_.mean_pass_seconds <
         view.best->target;
}

void ListScheduler::decide(int rank, double now, const ListPolicy& policy, RowOrders& orders) {
  const View view = look(rank, now, policy);
  if (weight_comes_first(rank, now, view, policy)) {
    start(rank, pending_[at(rank)][first_pending_[at(rank)]++], now, orders);
  } else if (view.best != nullptr) {
    Head& head = heads_[head_of_row_[at(view.best->row)]];
    const RowOp op{head.row, head.micro_batch};
    move_on(head);
    start(rank, op, now, orders);
  } else {
    wake_[at(rank)] = view.next_arrival;
  }
}

void ListScheduler::start(int rank, RowOp op, double now, RowOrders& orders) {
  const Row& row = instance_.row(op.row);
  orders[at(rank)].push_back(op);
  const double end = now + row.seconds;
  free_[at(rank)] = end;
  wake_[at(rank)] = end;
  live_[at(rank)] += row.net;
  chunk_live_[at(rank * num_chunks_ + row.chunk)] += row.net;
  if (row.pass == Pass::kBackwardInput) {
    pending_[at(rank)].push_back({op.row + instance_.num_stages, op.micro_batch});
  }
  if (row.consumer_row != kNoRow) {
    arrive({row.consumer_row, op.micro_batch}, end + instance_.row(row.consumer_row).input_delay);
  } else if (row.pass == Pass::kForward) {
    arrive({instance_.row_of(Pass::kBackwardInput, row.stage), op.micro_batch}, end);
  }
}

void ListScheduler::arrive(RowOp op, double time) {
  arrival_[instance_.index_of(op)] = time;
  Head& head = heads_[head_of_row_[at(op.row)]];
  if (head.micro_batch == op.micro_batch) head.arrival = time;
  const std::size_t rank = at(instance_.row(op.row).rank);
  wake_[rank] = std::min(wake_[rank], std::max(time, free_[rank]));
}

}  // namespace halfpipe::schedule
