// SPDX-License-Identifier: Apache-2.0
// How a job lies on its ranks: one point of the space that a layout search walks.
#pragma once

#include <string>
#include <vector>

#include "engine/config/run_config.h"

namespace halfpipe::runtime {

struct Layout {
  int data = 1;
  int tensor = 1;
  int pipeline = 1;
  int micro_batch_size = 1;  // sequences
  std::string schedule;      // of the catalogue
  int num_chunks = 1;        // stages per pipeline rank
  model::Recompute recompute = model::Recompute::kNone;
  int zero_stage = 0;        // 1: of several replicas
  bool gather_again = true;  // false: of several tensor ranks

  friend bool operator==(const Layout&, const Layout&) = default;
};

/// The job laid out so; other keys stay, but those without a meaning beside the new values are back
/// at their defaults. Orders are those of the catalogue: schedule.exact where it has a meaning.
[[nodiscard]] config::RunConfig with_layout(config::RunConfig config, const Layout& layout);

/// Micro-batches are powers of two up to this, or as large as the configuration says.
inline constexpr int kLargestMicroBatch = 64;
inline constexpr int kMostChunks = 8;

/// Every layout of a job on num_ranks ranks, each once: data x tensor x pipeline = num_ranks,
/// as many tensor ranks as divide those of a machine of device.profile, as many pipeline ranks and
/// stages as the model has blocks at most, micro-batches that divide a replica's part of the global
/// batch, schedules 1f1b, interleaved, zb-1p, v-min, v-half and v-zb (one rank has 1f1b only: all
/// are the same there), every kind of recompute, with several replicas the optimizer whole and
/// sharded, with several tensor ranks activations gathered again and kept. Meshes that the
/// configuration refuses are left out: it may name a device or a transport that does not go with
/// some.
[[nodiscard]] std::vector<Layout> enumerate_layouts(const config::RunConfig& config, int num_ranks);

}  // namespace halfpipe::runtime
