// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/layout.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "engine/config/load_config.h"
#include "engine/config/validate_config.h"
#include "engine/model/recompute.h"
#include "parallel/schedule/catalogue.h"

namespace halfpipe::runtime {

namespace {

/// A schedule and its stages per rank.
struct Pattern {
  std::string_view schedule;
  int num_chunks;
};

std::vector<Pattern> patterns_for(int pipeline, int num_blocks) {
  std::vector<Pattern> patterns{{"1f1b", 1}};
  if (pipeline == 1) return patterns;
  patterns.push_back({"zb-1p", 1});
  if (2 * pipeline <= num_blocks) {
    for (const std::string_view name : {"v-min", "v-half", "v-zb"}) patterns.push_back({name, 2});
  }
  for (int chunks = 2; chunks <= kMostChunks && chunks * pipeline <= num_blocks; ++chunks) {
    patterns.push_back({"interleaved", chunks});
  }
  return patterns;
}

std::vector<int> micro_batch_sizes(int sequences, int configured) {
  std::vector<int> sizes;
  for (int size = 1; size <= kLargestMicroBatch && sequences % size == 0; size *= 2) {
    sizes.push_back(size);
  }
  const bool is_new = std::ranges::find(sizes, configured) == sizes.end();
  if (is_new && sequences % configured == 0) sizes.push_back(configured);
  return sizes;
}

/// Divisors of the number of heads, so that every rank has whole ones, and of a machine's ranks, so
/// that no group of neighbours lies on two.
std::vector<int> tensor_sizes(const config::RunConfig& config, int num_ranks) {
  const int on_machine = config.device.profile->ranks_per_machine;
  std::vector<int> sizes;
  for (int size = 1; size <= on_machine; ++size) {
    const bool divides = on_machine % size == 0 && num_ranks % size == 0;
    if (divides && config.model.num_heads % size == 0) sizes.push_back(size);
  }
  return sizes;
}

/// With one micro-batch of one sequence, which goes with every size of the global batch.
bool accepts(const config::RunConfig& config, Layout mesh) {
  mesh.schedule = "1f1b";
  return !config::find_violation(with_layout(config, mesh)).has_value();
}

/// How replicas share the optimizer, and tensor ranks what they gather.
void add_sharings(Layout layout, std::vector<Layout>& layouts) {
  for (int zero_stage = 0; zero_stage <= (layout.data > 1 ? 1 : 0); ++zero_stage) {
    layout.zero_stage = zero_stage;
    layout.gather_again = true;
    layouts.push_back(layout);
    if (layout.tensor == 1) continue;
    layout.gather_again = false;
    layouts.push_back(layout);
  }
}

/// With the mesh given.
void add_layouts(const config::RunConfig& config,
                 const Layout& mesh,
                 std::vector<Layout>& layouts) {
  const int sequences = config.train.global_batch_size / mesh.data;
  for (const Pattern& pattern : patterns_for(mesh.pipeline, config.model.num_layers)) {
    for (const int size : micro_batch_sizes(sequences, config.train.micro_batch_size)) {
      const std::int64_t num_stages = std::int64_t{mesh.pipeline} * pattern.num_chunks;
      if (!config::is_plannable(num_stages, sequences / size)) continue;
      for (const auto& [name, recompute] : model::kRecomputeNames) {
        Layout layout = mesh;
        layout.micro_batch_size = size;
        layout.schedule = pattern.schedule;
        layout.num_chunks = pattern.num_chunks;
        layout.recompute = recompute;
        add_sharings(layout, layouts);
      }
    }
  }
}

}  // namespace

config::RunConfig with_layout(config::RunConfig config, const Layout& layout) {
  config.parallel.data = layout.data;
  config.parallel.tensor = layout.tensor;
  config.parallel.pipeline = layout.pipeline;
  config.parallel.gather_again = layout.gather_again;
  config.optimizer.zero_stage = layout.zero_stage;
  config.train.micro_batch_size = layout.micro_batch_size;
  config.schedule.name = layout.schedule;
  config.schedule.num_chunks = layout.num_chunks;
  config.schedule.exact = true;
  config.model.recompute.clear();
  if (layout.recompute != model::Recompute::kNone) config.model.recompute = {layout.recompute};
  return config::without_idle_keys(std::move(config));
}

std::vector<Layout> enumerate_layouts(const config::RunConfig& config, int num_ranks) {
  std::vector<Layout> layouts;
  for (const int tensor : tensor_sizes(config, num_ranks)) {
    const int rest = num_ranks / tensor;
    for (int pipeline = 1; pipeline <= std::min(rest, config.model.num_layers); ++pipeline) {
      if (rest % pipeline != 0 || config.train.global_batch_size % (rest / pipeline) != 0) continue;
      Layout mesh;
      mesh.data = rest / pipeline;
      mesh.tensor = tensor;
      mesh.pipeline = pipeline;
      if (accepts(config, mesh)) add_layouts(config, mesh, layouts);
    }
  }
  return layouts;
}

}  // namespace halfpipe::runtime
