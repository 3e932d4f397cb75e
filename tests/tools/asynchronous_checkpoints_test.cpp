// SPDX-License-Identifier: Apache-2.0
// output.asynchronous_checkpoints: the same checkpoints, written while the training goes on.
#include <csignal>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

class AsynchronousCheckpoints : public CommandTest {
 protected:
  static constexpr const char* kSetting = "output.asynchronous_checkpoints=true";

  /// What a checkpoint holds of a model and its optimizer, by file.
  [[nodiscard]] std::map<std::string, std::string> tensors_of(const std::string& checkpoint) const {
    std::map<std::string, std::string> files;
    for (const auto& item : fs::directory_iterator(path(checkpoint))) {
      const std::string name = item.path().filename();
      if (name.ends_with(".safetensors")) files[name] = read(checkpoint + "/" + name);
    }
    return files;
  }
};

const Arguments kEveryFive = {"output.checkpoint_every=5", "output.keep=0"};

TEST_F(AsynchronousCheckpoints, AreTheSameFiles) {
  // One pipeline; two replicas, of which the second saves nothing; moments in bfloat16.
  const std::vector<std::pair<int, Arguments>> cases = {
      {2, {}},
      {4, {"parallel.pipeline=2", "parallel.data=2"}},
      {1, {"optimizer.moments=bf16", "model.bias=false"}}};
  for (const auto& [ranks, settings] : cases) {
    for (const char* folder : {"out", "waiting"}) fs::remove_all(path(folder));
    const Arguments own = settings + kEveryFive;
    ASSERT_TRUE(succeeded(run(train_local(ranks, own + Arguments{"output.dir=waiting"}))));
    const CommandResult result = run(train_local(ranks, own + Arguments{kSetting}));
    ASSERT_TRUE(succeeded(result));
    EXPECT_NE(result.out.find("host copy"), std::string::npos);
    const std::vector<std::string> names = checkpoint_names(path("waiting"));
    ASSERT_EQ(names.size(), 4U);
    EXPECT_EQ(checkpoint_names(path("out")), names);
    EXPECT_EQ(fs::read_symlink(path("out/checkpoints/latest")), names.back());
    for (const std::string& name : names) {
      EXPECT_TRUE(tensors_of("out/checkpoints/" + name) ==
                  tensors_of("waiting/checkpoints/" + name))
          << name << " on " << ranks << " ranks";
      EXPECT_TRUE(succeeded(run({"inspect", "out/checkpoints/" + name})));
      EXPECT_NE(result.out.find("checkpoints/" + name), std::string::npos) << "it was not told";
    }
    expect_same_run(read_metrics(path("out")), read_metrics(path("waiting")));
  }
}

TEST_F(AsynchronousCheckpoints, AreGoneOnFrom) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"output.dir=whole"}))));
  ASSERT_TRUE(succeeded(run(train_local(2, kEveryFive + Arguments{kSetting}))));
  ASSERT_TRUE(succeeded(
      run(train_local(4, {kSetting}) + Arguments{"--resume", "out/checkpoints/step-00000010"})));
  expect_same_run(read_metrics(path("whole")), read_metrics(path("out")));
}

TEST_F(AsynchronousCheckpoints, AreCompletedAfterASignal) {
  const auto job = start(train_local(2, {"train.steps=1000000", kSetting}));
  ASSERT_TRUE(wait_for_step(path("out"), 3, 30.0));
  job->signal(SIGTERM);
  ASSERT_TRUE(succeeded(job->wait(30.0)));
  ASSERT_EQ(checkpoint_names(path("out")).size(), 1U);
  EXPECT_EQ(fs::read_symlink(path("out/checkpoints/latest")), checkpoint_names(path("out"))[0]);
  EXPECT_TRUE(succeeded(run({"inspect", "out"})));
}

TEST_F(AsynchronousCheckpoints, ThatCannotBeMadeEndTheRunAsAnyOther) {
  options.file_size_limit = 40000;  // the largest shards are larger, every other file is not
  const CommandResult result = run(train_local(2, {kSetting}));
  EXPECT_TRUE(refused(result, 1, {".tmp-step-00000020", ".safetensors", "File too large"}));
  EXPECT_TRUE(checkpoint_names(path("out")).empty());
  EXPECT_FALSE(fs::exists(path("out/checkpoints/.tmp-step-00000020")));
}

TEST_F(AsynchronousCheckpoints, ThatFailOnTheirThreadEndTheRunAsAnyOther) {
  // What nobody can replace by a link comes after the start of the run.
  const auto job =
      start(train_local(2, {"train.steps=1000000", "output.checkpoint_every=100", kSetting}));
  ASSERT_TRUE(wait_for_step(path("out"), 1, 30.0));
  fs::create_directories(path("out/checkpoints/latest/folder"));
  const CommandResult result = job->wait(30.0);
  EXPECT_TRUE(refused(result, 1, {"cannot change", "out/checkpoints/.latest.partial"}));
  EXPECT_FALSE(fs::exists(path("out/checkpoints/.tmp-step-00000100")));
}

}  // namespace
}  // namespace halfpipe::tools
