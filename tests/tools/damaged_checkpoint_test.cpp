// SPDX-License-Identifier: Apache-2.0
// A checkpoint with one wrong byte in any file, or cut short, is refused by name; `auto` falls back
// to the one before. A write that fails leaves what was there.
#include <fstream>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

class DamagedCheckpoint : public CommandTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(succeeded(run(train_local(2, {"output.checkpoint_every=10"}))));
    hash_ = read_metrics(path("out")).parameter_hash;
    for (const auto& item : fs::directory_iterator(path(kNewest)))
      files_.push_back(item.path().filename().string());
    // Two for each of four stages, and config, index, trainer, vocabulary, manifest.
    ASSERT_EQ(files_.size(), 13U);
  }
  /// Runs `check` with each file damaged, and puts it right again.
  template <typename Damage, typename Check>
  void for_each_file(const Damage& damage, const Check& check) {
    for (const std::string& file : files_) {
      SCOPED_TRACE(file);
      const std::string name = std::string(kNewest) + "/" + file;
      const std::string whole = read(name);
      write(name, damage(whole));
      check(file);
      write(name, whole);
    }
  }
  [[nodiscard]] CommandResult resume(const std::string& from) const {
    return run(train_local(2, {}) + Arguments{"--resume", from});
  }

  static constexpr const char* kNewest = "out/checkpoints/step-00000020";
  std::string hash_;
  std::vector<std::string> files_;
};

std::string with_one_flipped_bit(std::string bytes) {
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  return bytes;
}

std::string cut_short(const std::string& bytes) {
  return bytes.substr(0, bytes.size() - 1);
}

TEST_F(DamagedCheckpoint, IsRefusedByName) {
  const auto refused_by_name = [&](const std::string& file) {
    EXPECT_TRUE(refused(resume(kNewest), 2, {file}));
  };
  for_each_file(with_one_flipped_bit, refused_by_name);
  for_each_file(cut_short, refused_by_name);
  EXPECT_TRUE(succeeded(resume(kNewest)));
}

TEST_F(DamagedCheckpoint, IsRefusedByInspect) {
  for_each_file(with_one_flipped_bit, [&](const std::string& file) {
    EXPECT_TRUE(refused(run({"inspect", kNewest}), 2, {file}));
  });
}

TEST_F(DamagedCheckpoint, IsRefusedByEveryCommandThatReadsIt) {
  const std::vector<Arguments> commands = {
      {"generate", kNewest, "--tokens", "1"},
      {"evaluate", kNewest, "--text", "text.txt"},
      train_local(2, {"output.dir=other", std::string("model.init_from=") + kNewest})};
  for_each_file(with_one_flipped_bit, [&](const std::string& file) {
    for (const Arguments& command : commands) EXPECT_TRUE(refused(run(command), 2, {file}));
  });
}

TEST_F(DamagedCheckpoint, IsPassedOverByAuto) {
  const fs::path backup = path("backup");
  fs::rename(path("out"), backup);
  for (const std::string& file : files_) {
    SCOPED_TRACE(file);
    fs::remove_all(path("out"));
    fs::copy(backup, path("out"), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    const std::string name = std::string(kNewest) + "/" + file;
    write(name, with_one_flipped_bit(read(name)));
    const CommandResult result = resume("auto");
    ASSERT_TRUE(succeeded(result));
    EXPECT_NE(result.out.find("warning: checkpoint " + std::string(kNewest)), std::string::npos);
    EXPECT_NE(result.out.find("step 11/20"), std::string::npos);
    EXPECT_EQ(read_metrics(path("out")).parameter_hash, hash_);
  }
}

TEST_F(DamagedCheckpoint, WhenNoneIsWholeAutoDoesNotStartAnew) {
  for (const char* step : {"step-00000010", "step-00000020"})
    fs::resize_file(path("out/checkpoints") / step / "trainer.json", 5);
  EXPECT_TRUE(refused(resume("auto"), 2, {"no checkpoint of out is whole", "trainer.json"}));
}

TEST_F(DamagedCheckpoint, AWriteThatFailsLeavesThePreviousOneWhole) {
  const Arguments longer = train_local(2, {"train.steps=25"}) + Arguments{"--resume"};
  options.file_size_limit = 40000;  // the largest shards are larger, every other file is not
  const CommandResult result = run(longer);
  EXPECT_TRUE(refused(result, 1, {".tmp-step-00000025", ".safetensors", "File too large"}));
  EXPECT_EQ(checkpoint_names(path("out")),
            (std::vector<std::string>{"step-00000010", "step-00000020"}));
  EXPECT_FALSE(fs::exists(path("out/checkpoints/.tmp-step-00000025")));
  options.file_size_limit.reset();
  EXPECT_TRUE(succeeded(run({"inspect", "out"})));
  EXPECT_TRUE(succeeded(run(longer)));
  EXPECT_EQ(read_metrics(path("out")).end_step, 25);
}

TEST_F(DamagedCheckpoint, MetricsThatCannotBeWrittenEndTheRunWithTheirName) {
  options.file_size_limit = 2000;
  const CommandResult result = run(train_local(2, {"output.dir=other"}));
  EXPECT_TRUE(refused(result, 1, {"metrics.jsonl"}));
}

}  // namespace
}  // namespace halfpipe::tools
