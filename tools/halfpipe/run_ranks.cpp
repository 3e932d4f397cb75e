// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/run_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

#include "engine/runtime/agreement.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/transport/local_group.h"
#include "parallel/transport/mpi_session.h"
#include "parallel/transport/rank_lost.h"
#include "tools/halfpipe/reported_error.h"

namespace halfpipe::tools {

namespace {

int exit_code_of(const std::exception& error) {
  if (const auto* ours = dynamic_cast<const Error*>(&error)) return ours->exit_code();
  return dynamic_cast<const schedule::ScheduleError*>(&error) != nullptr ? 2 : 1;
}

struct Failure {
  int exit_code = 0;
  bool agreed = false;  // every rank failed with it, at the same point: nobody waits for this one
};

/// Runs the rank and reports what it throws, except what is reported already.
Failure run_one(transport::Transport& transport,
                const std::function<void(transport::Transport&)>& rank_main) {
  const int rank = transport.rank();
  try {
    rank_main(transport);
    return {};
  } catch (const runtime::AgreedError& error) {
    if (rank == 0) fmt::print(stderr, "halfpipe: error: {}\n", error.what());
    return {error.exit_code(), true};
  } catch (const ReportedError&) {
    throw;
  } catch (const std::exception& error) {
    fmt::print(stderr, "halfpipe: error: rank {}/{}: {}\n", rank, transport.world_size(),
               error.what());
    return {exit_code_of(error), false};
  }
}

void run_threads(int num_ranks, const std::function<void(transport::Transport&)>& rank_main) {
  transport::LocalGroup group(num_ranks);
  std::vector<int> exit_codes(static_cast<std::size_t>(num_ranks), 0);
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<std::size_t>(num_ranks));
    for (int rank = 0; rank < num_ranks; ++rank) {
      threads.emplace_back([&, rank] {
        const std::unique_ptr<transport::Transport> transport = group.make_transport(rank);
        const auto guarded = [&](transport::Transport& mine) {
          try {
            rank_main(mine);
          } catch (const transport::RankLost&) {
            // The rank that ended the group has said why.
            if (group.aborted()) throw ReportedError(group.exit_code());
            throw;
          }
        };
        Failure failure;
        try {
          failure = run_one(*transport, guarded);
        } catch (const ReportedError& error) {
          failure = {error.exit_code(), false};
        }
        if (failure.exit_code != 0 && !failure.agreed)
          group.abort(failure.exit_code, "another rank failed");
        exit_codes[static_cast<std::size_t>(rank)] = failure.exit_code;
      });
    }
  }
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
