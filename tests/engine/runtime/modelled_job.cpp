// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/runtime/modelled_job.h"

#include <exception>
#include <thread>
#include <vector>

#include "engine/runtime/modelled_ranks.h"
#include "engine/runtime/planning/hardware.h"
#include "kernels/modelled/modelled_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {

config::HardwareProfile only_products() {
  config::HardwareProfile profile;
  profile.name = "only products";
  profile.memory_bytes = std::int64_t{1} << 40;
  profile.memory = {1e300, 1.0};
  profile.float32 = {2.0, 0.5};
  profile.bf16 = {2.0, 0.5};
  profile.ranks_per_machine = 2;
  profile.within_machine = {1e-3, {2e6, 0.5}};
  profile.between_machines = {2e-3, {1e5, 1.0}};
  return profile;
}

config::RunConfig modelled_config(const std::string& schedule,
                                  int pipeline,
                                  const config::HardwareProfile& profile) {
  config::RunConfig config = small_config(schedule, pipeline);
  config.device.kind = "modelled";
  config.device.profile = profile;
  return config;
}

void on_modelled_ranks(const config::RunConfig& config,
                       const ModelledRankBody& body,
                       RunningReplicas replicas) {
  const int num_ranks =
      config.parallel.pipeline * (replicas == RunningReplicas::kAll ? config.parallel.data : 1);
  transport::LocalGroup group(num_ranks);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(num_ranks));
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < num_ranks; ++rank) {
      ranks.emplace_back([&, rank] {
        try {
          const auto carrier = group.make_transport(rank);
          carrier->set_timeout(60.0);
          ModelledRanks modelled(config, *carrier);
          const auto backend = modelled::make_modelled_backend(device_model_of(config));
          body(*backend, modelled.transports());
        } catch (...) {
          failures[static_cast<std::size_t>(rank)] = std::current_exception();
          group.abort(1, "a rank failed");
        }
      });
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace halfpipe::runtime
