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

}  // namespace halfpipe::runtime
