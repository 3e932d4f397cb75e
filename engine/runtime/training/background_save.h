// SPDX-License-Identifier: Apache-2.0
// Saving checkpoints while the training goes on (output.asynchronous_checkpoints).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/state/background_work.h"
#include "engine/runtime/state/saved_state.h"
#include "engine/runtime/training/checkpoint_save.h"
#include "kernels/device/buffer.h"

namespace halfpipe::runtime {

/// At a step boundary every rank copies what it saves to the host; then a thread of each writes,
/// and when all have written, one of rank 0 seals the checkpoint. Ranks go from one to the other
/// together, at a later step boundary: they ask each other only while a checkpoint is under way.
/// Until it is sealed the checkpoint before it is untouched. All but queries are collective; a
/// failure on any rank is an AgreedError on all of them, and leaves no half checkpoint. Destroyed
/// with one under way, it gives that up.
class BackgroundSave {
 public:
  /// Called when a checkpoint is complete.
  using Completed = std::function<void(const CheckpointSave&)>;

  /// Takes the memory for the copy, pinned. Not collective. What it is given must outlive it.
  BackgroundSave(PipelineTrainer& trainer, const RankGroups& groups, Completed completed);
  ~BackgroundSave();
  BackgroundSave(const BackgroundSave&) = delete;
  BackgroundSave& operator=(const BackgroundSave&) = delete;

  /// Completes the one that is under way, if any; then starts this one.
  void start(std::unique_ptr<CheckpointSave> save);
  /// To be called after every step: goes on with what all ranks are ready for.
  void look();
  /// Waits until nothing is under way.
  void complete();

  [[nodiscard]] std::size_t bytes() const { return copy_.bytes(); }

 private:
  enum class Phase : std::uint8_t { kWriting, kSealing };

  void copy_state();
  void write(StageFiles& files, const SavedPart& part, const std::byte* values);
  void write_stages();
  /// After every rank's work of a phase has succeeded.
  void enter_next_phase();
  void wait_for_work();
  /// Runs a step of all ranks. A failure in it ends the save.
  void together(const std::function<void()>& step);

  PipelineTrainer& trainer_;
  const RankGroups& groups_;
  Completed completed_;
  std::vector<SavedPart> parts_;
  device::Buffer copy_;                   // of the parts, one after the other
  std::unique_ptr<CheckpointSave> save_;  // null: nothing is under way
  Phase phase_ = Phase::kWriting;
  std::atomic<bool> gives_up_ = false;
  std::atomic<std::int64_t> progress_ = 0;  // pieces written
  std::optional<BackgroundWork> work_;      // last: it uses the others
};

}  // namespace halfpipe::runtime
