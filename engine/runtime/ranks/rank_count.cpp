// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/rank_count.h"

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::runtime {

void check_rank_count(const config::RunConfig& config, int world_size) {
  const config::ParallelConfig& parallel = config.parallel;
  const int wanted = parallel.data * parallel.tensor * parallel.pipeline;
  if (wanted == world_size) return;
  std::string others;
  if (parallel.tensor > 1) others += fmt::format(" x parallel.tensor ({})", parallel.tensor);
  if (parallel.data > 1) others += fmt::format(" x parallel.data ({})", parallel.data);
  throw ConfigError(fmt::format(
      "parallel.pipeline ({}){}: the configuration wants {} rank{}, this job has {}; start it "
      "with mpirun -n {}, or in one process with --local-ranks {}",
      parallel.pipeline, others, wanted, wanted == 1 ? "" : "s", world_size, wanted, wanted));
}

int check_modelled_rank_count(const config::RunConfig& config, int world_size) {
  const int pipeline = config.parallel.pipeline;
  const int data = config.parallel.data;
  config::RunConfig one = config;
  one.parallel.data = 1;
  one.parallel.tensor = 1;
  if (data == 1) check_rank_count(one, world_size);
  if (world_size == pipeline) return 1;
  const int all = data * pipeline;
  if (world_size == all) return data;
  throw ConfigError(fmt::format(
      "parallel.pipeline ({}) x parallel.data ({}): on modelled devices one pipeline of {} rank{} "
      "stands for all replicas, or all {} ranks run; this job has {}; start it with mpirun -n {} "
      "or {}, or in one process with --local-ranks {} or {}",
      pipeline, data, pipeline, pipeline == 1 ? "" : "s", all, world_size, pipeline, all, pipeline,
      all));
}

}  // namespace halfpipe::runtime
