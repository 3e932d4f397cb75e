// SPDX-License-Identifier: Apache-2.0
// What stages and links cost, in a JSON file of the user's: measured times, unequal stages, slow
// links. docs/schedules.md describes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"

namespace halfpipe::costs {

/// The link of two ranks where it differs from the others.
struct LinkOverride {
  int from_rank;
  int to_rank;
  schedule::LinkCost cost;
};

struct StageCostsFile {
  std::filesystem::path path;               // for messages
  std::vector<schedule::StageCost> stages;  // in the order in which a micro-batch meets them
  bool has_bytes = false;                   // some stage says what it keeps
  std::int64_t message_bytes = 0;
  schedule::LinkCost link = {};  // of every two ranks but those of `overrides`
  bool one_message_at_a_time = false;
  std::vector<LinkOverride> overrides = {};  // the last of several for one pair counts
};

/// Throws FileError with the file, the key and the rule: the file is missing or not JSON, a key is
/// unknown or missing, a value has the wrong type or is out of range, a message takes 1e12 seconds
/// or more, or the bytes of all stages together are beyond check_bytes() for one micro-batch.
[[nodiscard]] StageCostsFile read_stage_costs(const std::filesystem::path& path);

/// Throws FileError where all that the stages keep for so many micro-batches comes to 2^62 bytes or
/// more: sums of it would leave 64 bits. The message calls their number `count_name`.
void check_bytes(const StageCostsFile& file, int num_micro_batches, const std::string& count_name);

/// What a message of the file takes on a link.
[[nodiscard]] double message_seconds(const StageCostsFile& file, const schedule::LinkCost& link);

/// The costs of a schedule's stages. The file may cut the model finer than the schedule does: then
/// each stage is a run of as many of the file's. With links, message_seconds is what the fastest
/// takes. Throws FileError when that does not come out even,
/// or when a link names a rank that the placement does not have.
[[nodiscard]] schedule::CostModel costs_for(const StageCostsFile& file,
                                            const schedule::Placement& placement);

}  // namespace halfpipe::costs
