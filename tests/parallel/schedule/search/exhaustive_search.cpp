// SPDX-License-Identifier: Apache-2.0
#include "exhaustive_search.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "parallel/schedule/pass_graph.h"

namespace halfpipe::schedule {
namespace {

/// Passes done per (pass, stage), as a key.
using Counts = std::string;

/// When things can go on: each rank's clock and each link's, then the messages that wait for their
/// pass, by stage and micro-batch. Two states with equal counts have as many.
using Times = std::vector<double>;

struct Message {
  PassOp reader;
  double arrival;
};

struct State {
  std::vector<double> clock;      // [rank] end of the last pass, then when links are free
  std::vector<Message> messages;  // not yet read
};

class Search {
 public:
  Search(const SearchProblem& problem, double at_most)
      : problem_(problem),
        num_stages_(problem.placement.num_stages()),
        num_ranks_(static_cast<std::size_t>(problem.placement.num_pipeline_ranks())),
        num_clocks_(num_ranks_ + num_ranks_ * num_ranks_),
        at_most_(at_most),
        first_start_(num_ranks_, 0.0) {
    if (problem.objective == Objective::kSpan) {
      // Stage d is the first of rank d: its first F follows the first F of the stages below.
      for (std::size_t rank = 1; rank < first_start_.size(); ++rank) {
        first_start_[rank] = first_start_[rank - 1] +
                             problem.costs.stages[rank - 1].forward_seconds +
                             problem.costs.message_seconds_between(static_cast<int>(rank) - 1,
                                                                   static_cast<int>(rank));
      }
    }
  }

  std::optional<double> run() {
    const int num_passes = kNumPasses * num_stages_ * problem_.num_micro_batches;
    Level level;
    level[Counts(static_cast<std::size_t>(kNumPasses * num_stages_), '\0')] = {
        Times(num_clocks_, 0.0)};
    for (int done = 0; done < num_passes; ++done) {
      Level next;
      for (const auto& [counts, states] : level) {
        for (const Times& times : states) advance(counts, times, next);
      }
      level = std::move(next);
    }
    std::optional<double> shortest;
    for (const auto& [counts, states] : level) {
      for (const Times& times : states) {
        double longest = 0.0;
        for (std::size_t rank = 0; rank < num_ranks_; ++rank) {
          longest = std::max(longest, times[rank] - first_start_[rank]);
        }
        shortest = std::min(shortest.value_or(longest), longest);
      }
    }
    return shortest;
  }

 private:
  using Level = std::unordered_map<Counts, std::vector<Times>>;

  [[nodiscard]] static std::size_t index(int num_stages, Pass pass, int stage) {
    return static_cast<std::size_t>(static_cast<int>(pass) * num_stages + stage);
  }
  [[nodiscard]] int done(const Counts& counts, Pass pass, int stage) const {
    return counts[index(num_stages_, pass, stage)];
  }
  [[nodiscard]] std::size_t rank_of(int stage) const {
    return static_cast<std::size_t>(problem_.placement.rank_of(stage));
  }
  [[nodiscard]] const StageCost& cost(int stage) const {
    return problem_.costs.stages[static_cast<std::size_t>(stage)];
  }

  /// Edges between ranks whose writer is ahead of its reader.
  template <typename Visit>
  void for_each_message(const Counts& counts, Visit visit) const {
    for (const Pass pass : {Pass::kForward, Pass::kBackwardInput}) {
      for (int stage = 0; stage < num_stages_; ++stage) {
        const auto writer = neighbour_input({pass, stage, 0}, num_stages_);
        if (!writer || rank_of(writer->stage) == rank_of(stage)) continue;
        for (int k = done(counts, pass, stage); k < done(counts, pass, writer->stage); ++k) {
          visit(PassOp{pass, stage, k});
        }
      }
    }
  }

  [[nodiscard]] State unpack(const Counts& counts, const Times& times) const {
    State state;
    state.clock.assign(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(num_clocks_));
    std::size_t next = num_clocks_;
    for_each_message(counts, [&](const PassOp& op) {
      state.messages.push_back({op, times[next++]});
    });
    return state;
  }

  [[nodiscard]] Times pack(const Counts& counts, const State& state) const {
    Times times = state.clock;
    for_each_message(counts, [&](const PassOp& op) {
      const auto found = std::find_if(state.messages.begin(), state.messages.end(),
                                      [&](const Message& m) { return m.reader == op; });
      times.push_back(found->arrival);
    });
    return times;
  }

  /// Bytes on the rank while `op` runs next.
  [[nodiscard]] std::int64_t bytes_with(const Counts& counts, const PassOp& op) const {
    std::int64_t bytes = 0;
    for (int stage = 0; stage < num_stages_; ++stage) {
      if (rank_of(stage) != rank_of(op.stage)) continue;
      const int f = done(counts, Pass::kForward, stage) +
                    (op == PassOp{Pass::kForward, stage, op.micro_batch} ? 1 : 0);
      const int b = done(counts, Pass::kBackwardInput, stage);
      const int b_started = b + (op == PassOp{Pass::kBackwardInput, stage, op.micro_batch} ? 1 : 0);
      const int w = done(counts, Pass::kBackwardWeight, stage);
      bytes += (f - b) * cost(stage).forward_to_backward_input_bytes +
               (f - w) * cost(stage).forward_to_backward_weight_bytes +
               (b_started - w) * cost(stage).backward_input_to_backward_weight_bytes;
    }
    return bytes;
  }

  /// Whether the passes before `op` have been done, and memory allows it.
  [[nodiscard]] bool possible(const Counts& counts, const PassOp& op) const {
    if (op.micro_batch >= problem_.num_micro_batches) return false;
    for (const auto& input : {own_input(op), neighbour_input(op, num_stages_)}) {
      if (input && done(counts, input->pass, input->stage) <= op.micro_batch) return false;
    }
    return op.pass == Pass::kBackwardWeight ||
           bytes_with(counts, op) <= problem_.memory_limit[rank_of(op.stage)];
  }

  void advance(const Counts& counts, const Times& times, Level& next) const {
    const State state = unpack(counts, times);
    for (const Pass pass : {Pass::kForward, Pass::kBackwardInput, Pass::kBackwardWeight}) {
      for (int stage = 0; stage < num_stages_; ++stage) {
        const PassOp op{pass, stage, done(counts, pass, stage)};
        if (!possible(counts, op)) continue;
        Counts after = counts;
        ++after[index(num_stages_, pass, stage)];
        keep_if_useful(after, run_pass(state, op), next);
      }
    }
  }

  [[nodiscard]] State run_pass(const State& before, const PassOp& op) const {
    State state = before;
    double& clock = state.clock[rank_of(op.stage)];
    for (std::size_t i = 0; i < state.messages.size(); ++i) {
      if (state.messages[i].reader != op) continue;
      clock = std::max(clock, state.messages[i].arrival);
      state.messages.erase(state.messages.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
    clock += cost(op.stage).seconds(op.pass);
    const auto reader = neighbour_consumer(op, num_stages_);
    if (reader && rank_of(reader->stage) != rank_of(op.stage)) {
      state.messages.push_back(
          {*reader, send(state, rank_of(op.stage), rank_of(reader->stage), clock)});
    }
    return state;
  }

  /// Returns the arrival. A link's messages leave in the order in which its rank makes them.
  [[nodiscard]] double send(State& state, std::size_t from, std::size_t to, double ready) const {
    const auto from_rank = static_cast<int>(from);
    const auto to_rank = static_cast<int>(to);
    double& free_at = state.clock[num_ranks_ + from * num_ranks_ + to];
    const double departure = std::max(ready, free_at);
    if (problem_.costs.one_message_at_a_time) {
      free_at = departure + problem_.costs.occupancy_seconds_between(from_rank, to_rank);
    }
    return departure + problem_.costs.message_seconds_between(from_rank, to_rank);
  }

  /// Not when a rank's open work alone takes too long, nor when a state with equal counts is ahead
  /// everywhere.
  void keep_if_useful(const Counts& counts, const State& state, Level& next) const {
    for (std::size_t rank = 0; rank < num_ranks_; ++rank) {
      double end = state.clock[rank] - first_start_[rank];
      for (int stage = 0; stage < num_stages_; ++stage) {
        if (rank_of(stage) != rank) continue;
        for (int pass = 0; pass < kNumPasses; ++pass) {
          end += (problem_.num_micro_batches - done(counts, static_cast<Pass>(pass), stage)) *
                 cost(stage).seconds(static_cast<Pass>(pass));
        }
      }
      if (end > at_most_) return;
    }
    const Times times = pack(counts, state);
    std::vector<Times>& others = next[counts];
    const auto not_later = [](const Times& a, const Times& b) {
      return std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) { return x <= y; });
    };
    for (const Times& other : others) {
      if (not_later(other, times)) return;
    }
    std::erase_if(others, [&](const Times& other) { return not_later(times, other); });
    others.push_back(times);
  }

  const SearchProblem& problem_;
  int num_stages_;
  std::size_t num_ranks_;
  std::size_t num_clocks_;  // of ranks and links
  double at_most_;
  std::vector<double> first_start_;  // [rank], 0 for makespan
};

}  // namespace

std::optional<double> shortest_schedule(const SearchProblem& problem, double at_most) {
  return Search(problem, at_most).run();
}

}  // namespace halfpipe::schedule
