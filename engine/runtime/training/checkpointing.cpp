// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/checkpointing.h"

#include <fmt/format.h>

#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/state/saved_state.h"

namespace halfpipe::runtime {

void save_checkpoint(CheckpointSave& save, PipelineTrainer& trainer, const RankGroups& groups) {
  transport::Transport& world = groups.world();
  try {
    save.open();
    agree(world, [&] {
      HostWindow window(trainer.backend(), trainer.stream());
      const std::vector<SavedPart> parts =
          saved_parts(trainer.parameters(), trainer.optimizer(), trainer.parts(), groups.place());
      save.write_stages([&](StageFiles& files) {
        publish_activity(world, save.step(),
                         fmt::format("checkpoint, stage {}", files.stage()).c_str());
        for (const SavedPart& part : parts) {
          if (files.hold(part.parameter->spec)) files.write(part, window);
        }
      });
    });
    save.name_files();
    agree(world, [&] {
      if (world.rank() == 0) publish_activity(world, save.step(), "checkpoint, manifest");
      save.seal();
    });
  } catch (const AgreedError&) {
    save.abandon();
    throw;
  }
}

}  // namespace halfpipe::runtime
