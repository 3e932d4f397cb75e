// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/run_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/runtime/ranks/agreement.h"
#include "parallel/transport/local_group.h"
#include "parallel/transport/mpi_session.h"
#include "parallel/transport/rank_lost.h"
#include "tools/halfpipe/print_error.h"
#include "tools/halfpipe/reported_error.h"

namespace halfpipe::tools {

namespace {

struct Failure {
  int exit_code = 0;
  bool agreed = false;  // every rank failed with it, at the same point: nobody waits for this one
};

/// Runs the rank and reports what it throws, unless another rank has had the last word.
Failure run_one(transport::Transport& transport,
                const std::function<void(transport::Transport&)>& rank_main) {
  const int rank = transport.rank();
  try {
    rank_main(transport);
    return {};
  } catch (const runtime::AgreedError& error) {
    if (rank == 0) print_error(error.what());
    return {error.exit_code(), true};
  } catch (const transport::RankLost& lost) {
    // Its message names the ranks, and is the same on all of them. It has a line for each rank, and
    // no words of the user.
    if (transport.claim_last_words()) fmt::print(stderr, "halfpipe: error: {}\n", lost.what());
    return {lost.exit_code(), false};
  } catch (const std::exception& error) {
    const runtime::ErrorReport report = runtime::report_of(error);
    if (transport.claim_last_words()) {
      print_error(fmt::format("rank {}/{}: {}", rank, transport.world_size(), report.message));
    }
    return {report.exit_code, false};
  }
}

/// Where the starting thread waits for its ranks.
class Finish {
 public:
  explicit Finish(int num_ranks) : num_running_(num_ranks) {}
  void one_has_ended() {
    {
      const std::lock_guard lock(mutex_);
      --num_running_;
    }
    ended_.notify_one();
  }
  /// True when all have ended.
  [[nodiscard]] bool wait_for(std::chrono::steady_clock::duration longest) {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, longest, [this] { return num_running_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int num_running_;
};

/// A rank that has failed ends the job; one that stands still, in a system call or a device, would
/// never see that, and no thread can be ended from outside.
void wait_for_ranks(const transport::LocalGroup& group, Finish& finish) {
  constexpr auto kLookInterval = std::chrono::milliseconds(50);
  constexpr auto kTimeToEnd = std::chrono::seconds(2);
  while (!group.aborted()) {
    if (finish.wait_for(kLookInterval)) return;
  }
  // Without the destructors and flushes of exit(): the rank may hold a lock that they need.
  if (!finish.wait_for(kTimeToEnd)) std::_Exit(group.exit_code());
}

void run_threads(int num_ranks, const std::function<void(transport::Transport&)>& rank_main) {
  transport::LocalGroup group(num_ranks);
  Finish finish(num_ranks);
  std::vector<int> exit_codes(static_cast<std::size_t>(num_ranks), 0);
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<std::size_t>(num_ranks));
    for (int rank = 0; rank < num_ranks; ++rank) {
      threads.emplace_back([&, rank] {
        const std::unique_ptr<transport::Transport> transport = group.make_transport(rank);
        const Failure failure = run_one(*transport, rank_main);
        if (failure.exit_code != 0 && !failure.agreed)
          group.abort(failure.exit_code, "another rank failed");
        exit_codes[static_cast<std::size_t>(rank)] = failure.exit_code;
        finish.one_has_ended();
      });
    }
    wait_for_ranks(group, finish);
  }
  if (group.aborted()) throw ReportedError(group.exit_code());
  const int worst = *std::max_element(exit_codes.begin(), exit_codes.end());
  if (worst != 0) throw ReportedError(worst);
}

void run_process(const std::function<void(transport::Transport&)>& rank_main) {
  Failure failure;
  {
    transport::MpiSession session;
    const std::unique_ptr<transport::Transport> transport = session.make_transport();
    failure = run_one(*transport, rank_main);
    if (failure.exit_code != 0 && !failure.agreed) transport->abort(failure.exit_code);
  }
  if (failure.exit_code != 0) throw ReportedError(failure.exit_code);
}

/// Every process would run a whole job of its own, all of them in one output.dir.
void refuse_local_ranks(int local_ranks, transport::Transport& transport) {
  runtime::agree(transport, [&] {
    throw ConfigError(fmt::format(
        "--local-ranks ({}): a launcher started {} already; use one of both", local_ranks,
        transport.world_size() == 1 ? "this process as the rank of a job"
                                    : fmt::format("{} ranks", transport.world_size())));
  });
}

}  // namespace

void run_ranks(std::optional<int> local_ranks,
               const std::function<void(transport::Transport&)>& rank_main) {
  if (transport::launched_by_mpi()) {
    run_process([&](transport::Transport& transport) {
      if (local_ranks) refuse_local_ranks(*local_ranks, transport);
      rank_main(transport);
    });
  } else {
    run_threads(local_ranks.value_or(1), rank_main);
  }
}

}  // namespace halfpipe::tools
