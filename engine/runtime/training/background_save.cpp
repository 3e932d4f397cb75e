// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/background_save.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/ranks/agreement.h"
#include "kernels/core/align.h"

namespace halfpipe::runtime {

namespace {

std::size_t copy_bytes(const std::vector<SavedPart>& parts) {
  std::size_t bytes = 0;
  for (const SavedPart& part : parts) bytes += padded_bytes(part.bytes());
  return bytes;
}

}  // namespace

BackgroundSave::BackgroundSave(PipelineTrainer& trainer,
                               const RankGroups& groups,
                               Completed completed)
    : trainer_(trainer),
      groups_(groups),
      completed_(std::move(completed)),
      parts_(
          saved_parts(trainer.parameters(), trainer.optimizer(), trainer.parts(), groups.place())),
      copy_(trainer.backend(), copy_bytes(parts_), device::MemoryKind::kPinned) {}

BackgroundSave::~BackgroundSave() {
  gives_up_ = true;
}

void BackgroundSave::start(std::unique_ptr<CheckpointSave> save) {
  complete();
  save_ = std::move(save);
  together([&] {
    save_->open();
    agree(groups_.world(), [&] {
      copy_state();
      gives_up_ = false;
      phase_ = Phase::kWriting;
      work_.emplace([this] { write_stages(); });
    });
  });
}

void BackgroundSave::copy_state() {
  std::byte* to = copy_.bytes_pointer();
  for (const SavedPart& part : parts_) {
    if (part.bytes() > 0) {
      trainer_.backend().copy_async(to, part.values, part.bytes(), trainer_.stream());
    }
    to += padded_bytes(part.bytes());
  }
  trainer_.stream().synchronize();
}

void BackgroundSave::write_stages() {
  save_->write_stages([this](StageFiles& files) {
    const std::byte* values = copy_.bytes_pointer();
    for (const SavedPart& part : parts_) {
      if (files.hold(part.parameter->spec)) write(files, part, values);
      values += padded_bytes(part.bytes());
    }
  });
}

void BackgroundSave::write(StageFiles& files, const SavedPart& part, const std::byte* values) {
  const auto element_bytes = static_cast<std::int64_t>(size_of(part.dtype));
  const std::int64_t piece = static_cast<std::int64_t>(HostWindow::kBytes) / element_bytes;
  for (std::int64_t first = 0; first < part.count() && !gives_up_; first += piece) {
    const std::int64_t last = std::min(first + piece, part.count());
    files.write(part, part.first + first, part.first + last, values + first * element_bytes);
    ++progress_;
  }
}

void BackgroundSave::look() {
  if (!save_) return;
  const BackgroundWork::State state = work_->look();
  std::array<double, 2> ranks = {state.is_done ? 0.0 : 1.0, state.has_failed ? 1.0 : 0.0};
  groups_.world().all_reduce_sum(ranks);
  const bool has_failed = ranks[1] > 0.0;
  if (has_failed) gives_up_ = true;
  if (ranks[0] == 0.0 || has_failed) enter_next_phase();
}

void BackgroundSave::complete() {
  while (save_) {
    wait_for_work();
    enter_next_phase();
  }
}

void BackgroundSave::wait_for_work() {
  // What moves is told to the ranks that wait for this one.
  constexpr double kLookSeconds = 0.05;
  std::int64_t seen = -1;
  while (!work_->wait_for(kLookSeconds)) {
    if (std::exchange(seen, progress_.load()) == seen) continue;
    publish_activity(groups_.world(), save_->step(), "waiting for its checkpoint");
  }
}

void BackgroundSave::enter_next_phase() {
  together([&] {
    agree(groups_.world(), [&] { work_->finish(); });
    if (phase_ == Phase::kWriting) {
      save_->name_files();
      phase_ = Phase::kSealing;
      agree(groups_.world(), [&] { work_.emplace([this] { save_->seal(); }); });
      return;
    }
    work_.reset();
    const std::unique_ptr<CheckpointSave> done = std::move(save_);
    completed_(*done);
  });
}

void BackgroundSave::together(const std::function<void()>& step) {
  try {
    step();
  } catch (const AgreedError&) {
    gives_up_ = true;
    work_.reset();
    if (save_) save_->abandon();
    save_.reset();
    throw;
  }
}

}  // namespace halfpipe::runtime
