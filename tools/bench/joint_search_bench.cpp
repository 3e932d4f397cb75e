// SPDX-License-Identifier: Apache-2.0
// Placement, layers and orders searched jointly, against schedules with a fixed cut, on models
// whose layers, ranks or links differ. A simulation by the cost model: nothing is trained. Prints a
// table in Markdown. Usage: joint_search_bench
// [EVALUATIONS for 8 ranks, default 200000]; other numbers of ranks get about the same time.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/search/joint_search.h"
#include "parallel/schedule/search/partition_layers.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/search/split_tasks.h"
#include "parallel/schedule/simulate.h"

namespace {

using namespace halfpipe::schedule;  // NOLINT(google-build-using-namespace): one small program

constexpr std::int64_t kMebibyte = 1 << 20;

/// Seconds in units of a block's F; what B and W share is uneven, as attention makes it.
LayerCost layer(double blocks, std::int64_t mebibytes) {
  return {{blocks, 1.2 * blocks, 0.8 * blocks, mebibytes * kMebibyte / 4,
           3 * mebibytes * kMebibyte / 4, 0},
          0};
}

/// Blocks of 8 MiB per micro-batch, `per_rank` of them; V, two stages that go round, zigzag of four
/// chunks or one stage.
JointProblem plain(int p, int per_rank) {
  JointProblem problem;
  problem.model.blocks.assign(static_cast<std::size_t>(p * per_rank), layer(1.0, 8));
  problem.model.head = layer(0.0, 1);
  problem.placements = {Placement(PlacementKind::kV, p, 2), Placement(PlacementKind::kLinear, p, 1),
                        Placement(PlacementKind::kZigzag, p, 4),
                        Placement(PlacementKind::kInterleaved, p, 2)};
  problem.num_micro_batches = 4 * p;
  problem.messages.message_seconds = 0.02;
  problem.objective = Objective::kMakespan;
  return problem;
}

JointProblem with_head(int p, double blocks) {
  JointProblem problem = plain(p, 4);
  problem.model.head = layer(blocks, 2);
  return problem;
}

JointProblem alternating(int p, int per_rank) {
  JointProblem problem = plain(p, per_rank);
  for (std::size_t i = 0; i < problem.model.blocks.size(); ++i) {
    problem.model.blocks[i] = layer(i % 2 == 0 ? 0.5 : 1.5, 8);
  }
  return problem;
}

JointProblem with_slow_rank(int p, int per_rank) {
  JointProblem problem = plain(p, per_rank);
  problem.rank_slowness.assign(static_cast<std::size_t>(p), 1.0);
  problem.rank_slowness[static_cast<std::size_t>(p / 3)] = 1.3;
  return problem;
}

/// Two machines: a message between them takes as long as 0.6 of a block's F.
JointProblem with_slow_links(int p) {
  JointProblem problem = plain(p, 4);
  const auto ranks = static_cast<std::size_t>(p);
  problem.messages.links.assign(ranks, std::vector<LinkCost>(ranks));
  for (std::size_t from = 0; from < ranks; ++from) {
    for (std::size_t to = 0; to < ranks; ++to) {
      const bool same_machine = from / (ranks / 2) == to / (ranks / 2);
      problem.messages.links[from][to].latency_seconds = same_machine ? 0.02 : 0.6;
    }
  }
  return problem;
}

struct Family {
  std::string name;
  std::function<JointProblem(int)> make;
};

std::vector<Family> families() {
  return {{"head worth 4 blocks", [](int p) { return with_head(p, 4.0); }},
          {"head worth 8 blocks", [](int p) { return with_head(p, 8.0); }},
          {"blocks 1:3 in turns, 2p", [](int p) { return alternating(p, 2); }},
          {"blocks 1:3 in turns, 6p", [](int p) { return alternating(p, 6); }},
          {"one rank 1.3 times slower, 4p", [](int p) { return with_slow_rank(p, 4); }},
          {"one rank 1.3 times slower, 8p", [](int p) { return with_slow_rank(p, 8); }},
          {"slow links between two halves", with_slow_links}};
}

struct Peer {
  double seconds;
  std::int64_t bytes;
};

Peer measure(const JointProblem& problem, const char* name, const std::vector<int>& blocks) {
  const int p = static_cast<int>(problem.memory_limit.size());
  constexpr int kChunks = 2;  // of interleaved
  const SearchProblem fixed = problem_of(problem, {placement_for(name, p, kChunks), blocks});
  const StageOrders orders = make_orders(name, p, problem.num_micro_batches, kChunks, fixed.costs);
  const Timeline timeline = simulate(orders, fixed.costs);
  return {timeline.makespan, *std::max_element(timeline.peak_activation_bytes.begin(),
                                               timeline.peak_activation_bytes.end())};
}

std::vector<int> uniform(const JointProblem& problem, int num_stages) {
  return std::vector<int>(static_cast<std::size_t>(num_stages),
                          static_cast<int>(problem.model.blocks.size()) / num_stages);
}

std::string ratio(const Peer& peer, double seconds, std::int64_t limit) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%s", peer.seconds / seconds, peer.bytes > limit ? "*" : "");
  return text;
}

/// Orders searched with the same budget, on every placement with its ranks balanced.
double search_balanced_alone(const JointProblem& problem, const SearchBudget& budget) {
  std::vector<SearchProblem> choices;
  for (const Placement& placement : problem.placements) {
    const std::optional<std::vector<int>> blocks =
        balance_ranks(placement, partition_task_of(problem, placement));
    if (blocks) choices.push_back(problem_of(problem, {placement, *blocks}));
  }
  return search_schedule(choices, budget).cost;
}

/// Prints a row for the limit; returns by how much interleaved takes longer.
double run(const std::string& family,
           JointProblem problem,
           double share,
           std::int64_t evaluations) {
  const int p = static_cast<int>(problem.memory_limit.size());
  const Peer interleaved = measure(problem, "interleaved", uniform(problem, 2 * p));
  const Peer one = measure(problem, "1f1b", uniform(problem, p));
  const auto limit = static_cast<std::int64_t>(share * static_cast<double>(interleaved.bytes));
  const Placement& v = problem.placements.front();
  const Peer half = measure(problem, "v-half", *balance_ranks(v, partition_task_of(problem, v)));
  std::fill(problem.memory_limit.begin(), problem.memory_limit.end(), limit);
  SearchBudget budget;
  // Passes, and with them the time of an evaluation, grow with p^2.
  budget.evaluations = evaluations * 8 / p * 8 / p;
  budget.num_threads = 2;
  const JointResult found = search_jointly(problem, budget);
  const double balanced = search_balanced_alone(problem, budget);
  std::printf("| %s | %d | %lld | %s | %.1f | %.1f%% | %s | %s | %s | %.3f | %.2f |\n",
              family.c_str(), p, static_cast<long long>(limit / kMebibyte),
              name_of(found.split.placement.kind()), found.cost,
              100.0 * (found.cost / found.bound - 1.0),
              ratio(interleaved, found.cost, limit).c_str(), ratio(half, found.cost, limit).c_str(),
              ratio(one, found.cost, limit).c_str(), balanced / found.cost, found.search_seconds);
  std::fflush(stdout);
  return interleaved.seconds / found.cost;
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t evaluations = argc > 1 ? std::atoll(argv[1]) : 200000;
  std::printf(
      "| model | p | limit, MiB | placement | step | above its bound | interleaved, uniform | "
      "V-Half, balanced | 1F1B, uniform | auto, balanced | search, s |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const double share : {1.0, 0.5}) {
    double product = 0.0;
    double most = 0.0;
    int count = 0;
    for (const Family& family : families()) {
      for (const int p : {4, 8, 16}) {
        JointProblem problem = family.make(p);
        problem.memory_limit.assign(static_cast<std::size_t>(p), INT64_MAX / 4);
        const double gain = run(family.name, problem, share, evaluations);
        product += std::log(gain);
        most = std::max(most, gain);
        ++count;
      }
    }
    std::printf(
        "| geometric mean / most, %.0f%% of interleaved's memory | | | | | | %.2f / %.2f | | | | "
        "|\n",
        100.0 * share, std::exp(product / count), most);
  }
  return 0;
}
