// SPDX-License-Identifier: Apache-2.0
// What a layout takes at least, without its orders: cheap enough for thousands of layouts, and
// never more than the truth, so that a search may pass over what a bound rules out.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "engine/runtime/planning/layout.h"
#include "engine/runtime/planning/outside_passes.h"
#include "engine/runtime/planning/stage_layout.h"
#include "kernels/device/backend.h"
#include "parallel/mesh.h"

namespace halfpipe::runtime {

/// Makespan of a step of m micro-batches, at least: for every rank the forward passes of the stages
/// before its first one, then its own work; and the same with its W left for later, followed by the
/// backward passes through the stages before. Where each W stands right behind its B, W cannot be
/// left: that is 1F1B, plain and interleaved. (Narayanan et al. 2021, arXiv:2104.04473, section 2,
/// for equal stages: m + p - 1 times what one stage takes.)
[[nodiscard]] double makespan_bound(const StageLayout& layout, std::string_view schedule, int m);

/// Costs and bytes of the parts that layouts share, each counted once.
class LayoutParts {
 public:
  /// config: of modelled devices; its layout does not matter. The backend is asked for scratch
  /// sizes only and must outlive this.
  LayoutParts(config::RunConfig config, device::Backend& backend);

  /// Stages of equal cost as lay_out() has them; figures to the bit.
  [[nodiscard]] StageLayout stages_of(const Layout& layout);
  /// As outside_passes(); `stages` are those of the layout.
  [[nodiscard]] OutsidePasses outside_passes_of(const Layout& layout, const StageLayout& stages);
  /// As plan_memory_outside_passes(), of every rank.
  [[nodiscard]] std::vector<RankMemory> memory_outside_passes_of(const Layout& layout,
                                                                 const StageLayout& stages);

 private:
  struct StageShape {
    int num_blocks;
    bool has_embedding;
    bool has_head;
    // NOLINTNEXTLINE(modernize-use-nullptr)
    friend auto operator<=>(const StageShape&, const StageShape&) = default;
  };
  /// What a stage costs.
  struct StageKey {
    int tensor;
    int tensor_near;  // Fan::near of those
    bool gather_again;
    int micro_batch_size;
    model::Recompute recompute;
    StageShape shape;
    // NOLINTNEXTLINE(modernize-use-nullptr)
    friend auto operator<=>(const StageKey&, const StageKey&) = default;
  };
  struct StageFigures {
    schedule::StageCost cost;
    std::int64_t message_bytes;
  };
  /// What the parameters of a rank cost outside passes: by its stages.
  struct RankKey {
    int data;
    int tensor;
    int pipeline;  // how far replicas are apart
    int zero_stage;
    std::vector<StageShape> stages;
    // NOLINTNEXTLINE(modernize-use-nullptr)
    friend auto operator<=>(const RankKey&, const RankKey&) = default;
  };
  struct MemoryKey {
    RankKey rank;
    bool gather_again;
    int micro_batch_size;
    model::Recompute recompute;
    // NOLINTNEXTLINE(modernize-use-nullptr)
    friend auto operator<=>(const MemoryKey&, const MemoryKey&) = default;
  };

  [[nodiscard]] parallel::Mesh mesh_of_layout(const Layout& layout) const;
  [[nodiscard]] const StageFigures& figures_of(const Layout& layout,
                                               int tensor_near,
                                               const model::StageLayers& layers);
  [[nodiscard]] static RankKey key_of(const Layout& layout, const StageLayout& stages, int rank);

  config::RunConfig config_;
  device::Backend& backend_;
  std::map<StageKey, StageFigures> stages_;
  std::map<RankKey, OutsidePasses> outside_;
  std::map<MemoryKey, RankMemory> memory_;
};

}  // namespace halfpipe::runtime
