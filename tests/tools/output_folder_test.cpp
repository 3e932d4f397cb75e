// SPDX-License-Identifier: Apache-2.0
// output.dir belongs to one run: another one neither joins it, nor changes what lies there before
// its own first step.
#include <csignal>
#include <nlohmann/json.hpp>

#include "engine/checkpoint/manifest.h"
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

using OutputFolder = CommandTest;

const Arguments kResume = {"--resume"};

TEST_F(OutputFolder, IsNotSharedWithARunningJob) {
  const auto job = start(train_local(1, {"train.steps=1000000"}));
  ASSERT_TRUE(wait_for_step(path("out"), 1, 30.0));
  fs::create_directories(path("out/checkpoints/.tmp-step-00000500"));  // as if it were saving
  const std::string pid = std::to_string(job->pid());
  for (const Arguments& more : {Arguments{}, kResume}) {
    EXPECT_TRUE(refused(run(train_local(1, {}) + more), 2,
                        {"output.dir (out) is in use by a run with process id " + pid}));
  }
  EXPECT_TRUE(fs::exists(path("out/checkpoints/.tmp-step-00000500")));
  job->signal(SIGTERM);
  EXPECT_TRUE(succeeded(job->wait(30.0)));
  const std::int64_t last = read_metrics(path("out")).end_step;
  ASSERT_GT(last, 0);
  EXPECT_TRUE(
      succeeded(run(train_local(1, {"train.steps=" + std::to_string(last + 1)}) + kResume)));
  EXPECT_FALSE(fs::exists(path("out/checkpoints/.tmp-step-00000500")));
}

TEST_F(OutputFolder, IsFreeAgainAfterACrash) {
  const auto job = start(train_local(1, {"train.steps=1000000"}));
  ASSERT_TRUE(wait_for_step(path("out"), 1, 30.0));
  job->signal(SIGKILL);
  EXPECT_EQ(job->wait(30.0).exit_code, 128 + SIGKILL);
  EXPECT_TRUE(succeeded(run(train_local(1, {"train.steps=2"}))));
}

TEST_F(OutputFolder, IsLeftAsItWasByAResumeThatFails) {
  ASSERT_TRUE(succeeded(run(train_local(2, {"output.checkpoint_every=5", "output.keep=0"}))));
  const std::vector<std::string> before = checkpoint_names(path("out"));
  ASSERT_EQ(before.size(), 4U);
  // Found when the parameters are loaded, the last thing before the first step.
  const std::string older = "out/checkpoints/step-00000005/";
  nlohmann::json state = nlohmann::json::parse(read(older + "trainer.json"));
  state["parameter_hash"] = "of other parameters";
  write(older + "trainer.json", state.dump());
  checkpoint::write_manifest(path(older));
  EXPECT_TRUE(refused(run(train_local(2, {}) + Arguments{"--resume", older}), 2,
                      {"step-00000005", "of other parameters"}));
  EXPECT_EQ(checkpoint_names(path("out")), before);
  EXPECT_EQ(fs::read_symlink(path("out/checkpoints/latest")), "step-00000020");
  EXPECT_EQ(read_metrics(path("out")).end_step, 20);
}

TEST_F(OutputFolder, OfAnotherRunIsNotGoneOnIn) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=4", "output.dir=one"}))));
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=2", "output.dir=two"}))));
  const std::string records = read("two/metrics.jsonl");
  const auto from_one = [&](const std::string& to) {
    return run(train_local(1, {"train.steps=6", "output.dir=" + to}) +
               Arguments{"--resume", "one/checkpoints/step-00000004"});
  };
  const std::vector<std::string> parts = {"output.dir (two)", "one/checkpoints/step-00000004",
                                          "another folder"};
  EXPECT_TRUE(refused(from_one("two"), 2, parts));
  fs::remove_all(path("two/checkpoints"));  // it crashed before it saved
  EXPECT_TRUE(refused(from_one("two"), 2, parts));
  EXPECT_EQ(read("two/metrics.jsonl"), records);

  ASSERT_TRUE(succeeded(from_one("three")));
  const Metrics metrics = read_metrics(path("three"));
  EXPECT_EQ(metrics.losses.begin()->first, 5);
  EXPECT_EQ(metrics.end_step, 6);
  EXPECT_EQ(fs::read_symlink(path("three/checkpoints/latest")), "step-00000006");
}

TEST_F(OutputFolder, OfTheSameRunMayBeNamedInAnyWay) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=2"}))));
  int steps = 3;
  for (const std::string& from : {std::string("out/"), path("out/checkpoints/latest").string(),
                                  std::string("./out/checkpoints/../checkpoints/step-00000004/")}) {
    EXPECT_TRUE(succeeded(run(train_local(1, {"train.steps=" + std::to_string(steps++)}) +
                              Arguments{"--resume", from})))
        << from;
  }
}

TEST_F(OutputFolder, MayHaveANameThatIsNotUtf8) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=2", "output.dir=o\xff"}))));
  EXPECT_EQ(read_metrics(path("o\xff")).end_step, 2);
  const CommandResult result = run({"evaluate", "o\xff", "--text", "text.txt", "--json"});
  ASSERT_TRUE(succeeded(result));
  EXPECT_TRUE(nlohmann::json::parse(result.out).contains("loss"));
}

TEST_F(OutputFolder, WithAFolderInThePlaceOfALogIsLeftAsItWas) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"output.checkpoint_every=10"}))));
  fs::remove(path("out/main.log"));
  fs::create_directory(path("out/main.log"));
  EXPECT_TRUE(
      refused(run(train_local(1, {}) + Arguments{"--resume", "out/checkpoints/step-00000010"}), 1,
              {"out/main.log"}));
  EXPECT_EQ(checkpoint_names(path("out")).size(), 2U);
  EXPECT_EQ(read_metrics(path("out")).end_step, 20);
}

TEST_F(OutputFolder, WithAFolderInThePlaceOfTheLinkIsRefusedAtOnce) {
  write("out/checkpoints/latest/file", "");
  EXPECT_TRUE(refused(run(train_local(1, {})), 2, {"output.dir (out)", "out/checkpoints/latest"}));
}

}  // namespace
}  // namespace halfpipe::tools
