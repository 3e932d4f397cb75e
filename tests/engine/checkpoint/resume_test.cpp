// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/resume.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "tests/engine/checkpoint/saved_checkpoint.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

class Resume : public testing::Test {
 protected:
  Resume() {
    CheckpointStore store(scratch_.path(), 0);
    store.prepare();
    for (const std::int64_t step : {100, 200, 300}) save(store, step);
  }

  [[nodiscard]] fs::path directory(int step) const {
    return scratch_.path() / ("checkpoints/step-00000" + std::to_string(step));
  }

  void damage(int step, const std::string& name = "model-00002-of-00002.safetensors") const {
    std::string bytes = read_bytes(directory(step) / name);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    write_bytes(directory(step) / name, bytes);
  }

  ScratchDirectory scratch_;
};

TEST_F(Resume, AutoTakesTheNewest) {
  const ResumePoint point = resolve_resume(scratch_.path(), "auto");
  EXPECT_EQ(point.directory, directory(300));
  EXPECT_TRUE(point.warnings.empty());
}

TEST_F(Resume, AutoFallsBackAndSaysSo) {
  damage(300);
  fs::remove(directory(200) / "manifest.json");
  const ResumePoint point = resolve_resume(scratch_.path(), "auto");
  EXPECT_EQ(point.directory, directory(100));
  ASSERT_EQ(point.warnings.size(), 2U);
  EXPECT_TRUE(contains(point.warnings[0], "step-00000300/model-00002-of-00002.safetensors"))
      << point.warnings[0];
  EXPECT_TRUE(contains(point.warnings[1], "step-00000200")) << point.warnings[1];
}

TEST_F(Resume, AutoPassesOverACopyUnderALaterName) {
  fs::copy(directory(100), directory(900));
  const ResumePoint point = resolve_resume(scratch_.path(), "auto");
  EXPECT_EQ(point.directory, directory(300));
  ASSERT_EQ(point.warnings.size(), 1U);
  EXPECT_TRUE(contains(point.warnings[0], "step-00000900/trainer.json: step (100)"))
      << point.warnings[0];
}

TEST_F(Resume, AutoRefusesToStartAnewOverDamagedCheckpoints) {
  for (const int step : {100, 200, 300}) damage(step);
  const std::string message =
      message_of<FileError>([&] { (void)resolve_resume(scratch_.path(), "auto"); });
  EXPECT_TRUE(contains(message, "step-00000300/model-00002-of-00002.safetensors")) << message;
}

TEST_F(Resume, AutoWithoutAnyCheckpointStartsAnew) {
  EXPECT_FALSE(resolve_resume(scratch_ / "another", "auto").directory);
}

TEST_F(Resume, APathIsTakenOrRefusedByName) {
  EXPECT_EQ(resolve_resume("elsewhere", directory(200).string()).directory, directory(200));
  for (const char* name :
       {"config.json", "manifest.json", "trainer.json", "model.safetensors.index.json"}) {
    damage(200, name);
    const std::string message =
        message_of<FileError>([&] { (void)resolve_resume("elsewhere", directory(200).string()); });
    EXPECT_TRUE(contains(message, name)) << message;
    damage(200, name);  // the same bit again mends it
  }
  fs::remove(directory(200) / "config.json");
  const std::string message =
      message_of<FileError>([&] { (void)resolve_resume("elsewhere", directory(200).string()); });
  EXPECT_TRUE(contains(message, "config.json") && contains(message, "missing")) << message;
  EXPECT_THROW((void)resolve_resume("elsewhere", "absent"), FileError);
}

TEST_F(Resume, LocateAcceptsACheckpointARunAndItsFolder) {
  EXPECT_EQ(locate_checkpoint(directory(100)), directory(100));
  EXPECT_EQ(locate_checkpoint(scratch_.path()), directory(300));
  EXPECT_EQ(locate_checkpoint(scratch_ / "checkpoints/"), directory(300));
  EXPECT_EQ(locate_checkpoint(scratch_ / "checkpoints/latest"), scratch_ / "checkpoints/latest");
  fs::create_directory(scratch_ / "empty");
  EXPECT_TRUE(contains(message_of<FileError>([&] { (void)locate_checkpoint(scratch_ / "empty"); }),
                       "config.json"));
  EXPECT_THROW((void)locate_checkpoint(scratch_ / "absent"), FileError);
}

}  // namespace
}  // namespace halfpipe::checkpoint
