// SPDX-License-Identifier: Apache-2.0
// Runs that go on from a checkpoint end as if they had never stopped, on whatever layout.
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/checkpoint/manifest.h"
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

using Resume = CommandTest;

const Arguments kResume = {"--resume"};

/// A run that crashed after step 13: its last checkpoint is that of step 10.
class CrashedRun : public CommandTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(succeeded(run(train_local(1, {"output.dir=whole"}))));
    whole_ = read_metrics(path("whole"));
    ASSERT_EQ(whole_.losses.size(), 20U);
    ASSERT_TRUE(succeeded(run(train_local(2, {"output.checkpoint_every=5", "output.keep=0"}))));
    for (const char* step : {"step-00000015", "step-00000020"})
      fs::remove_all(path("out/checkpoints") / step);
    fs::remove(path("out/checkpoints/latest"));
    fs::create_directory_symlink("step-00000010", path("out/checkpoints/latest"));
  }
  void cut_metrics_in_the_middle_of_a_record() {
    const std::string text = read("out/metrics.jsonl");
    write("out/metrics.jsonl", text.substr(0, text.find("\"step\":13") + 20));
  }

  Metrics whole_;
};

TEST_F(CrashedRun, EndsAsIfItHadNeverStopped) {
  cut_metrics_in_the_middle_of_a_record();
  const CommandResult result = run(train_local(2, {}) + kResume);
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(result.out.find("step 10/20"), std::string::npos);
  EXPECT_NE(result.out.find("step 11/20"), std::string::npos);
  expect_same_run(whole_, read_metrics(path("out")));
}

TEST_F(CrashedRun, GoesOnOnAnyLayout) {
  for (const auto& [ranks, schedule] : std::vector<std::pair<int, std::string>>{
           {1, "gpipe"}, {4, "v-min"}, {4, "1f1b"}, {2, "zb-2p"}}) {
    SCOPED_TRACE(schedule + " on " + std::to_string(ranks));
    fs::remove_all(path("copy"));
    fs::copy(path("out"), path("copy"),
             fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    ASSERT_TRUE(succeeded(run(train_local(ranks, {"output.dir=copy", "schedule.name=" + schedule}) +
                              Arguments{"--resume", "auto"})));
    expect_same_run(whole_, read_metrics(path("copy")));
  }
}

TEST_F(CrashedRun, GoesOnFromAnyOfItsCheckpoints) {
  const std::string from = "out/checkpoints/step-00000005";
  const CommandResult result = run(train_local(4, {}) + Arguments{"--resume", from});
  ASSERT_TRUE(succeeded(result));
  expect_same_run(whole_, read_metrics(path("out")));
  // The later one is kept under a name that counts no more, and said so.
  EXPECT_TRUE(fs::exists(path("out/checkpoints/set-aside-step-00000010")));
  EXPECT_NE(result.out.find("set-aside-step-00000010"), std::string::npos);
  EXPECT_EQ(checkpoint_names(path("out")),
            (std::vector<std::string>{"step-00000005", "step-00000020"}));
}

TEST_F(CrashedRun, GoesOnInAnotherFolder) {
  ASSERT_TRUE(succeeded(run(train_local(2, {"output.dir=other"}) + Arguments{"--resume", "out"})));
  const Metrics other = read_metrics(path("other"));
  EXPECT_EQ(other.parameter_hash, whole_.parameter_hash);
  EXPECT_EQ(other.losses.size(), 10U);
}

TEST_F(CrashedRun, SaysThatTooFewStepsAreLeftForAnotherPlan) {
  const CommandResult result = run(train_local(2, {"schedule.replan_after=10"}) + kResume);
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("warning: schedule.replan_after (10) is not below the 10 steps"),
            std::string::npos)
      << result.out;
}

TEST_F(CrashedRun, IsNotOverwrittenUnasked) {
  EXPECT_TRUE(refused(run(train_local(2, {})), 2, {"output.dir (out)", "--resume"}));
  EXPECT_EQ(read_metrics(path("out")).losses.size(), 20U) << "its records are gone";
}

TEST_F(CrashedRun, RefusesAnotherModelOrAnotherOrderOfData) {
  const std::vector<std::string> cases = {"model.num_layers=2",   "model.num_heads=4",
                                          "model.hidden_size=16", "model.seq_len=8",
                                          "model.bias=false",     "model.tie_embeddings=false",
                                          "model.vocab_size=300", "train.global_batch_size=16",
                                          "train.seed=2",         "data.vocabulary=characters"};
  for (const std::string& setting : cases) {
    const CommandResult result = run(train_local(2, {setting}) + kResume);
    const std::string key = setting.substr(0, setting.find('='));
    EXPECT_TRUE(refused(result, 2, {key.starts_with("data") ? "vocab" : key, "step-00000010"}));
  }
  EXPECT_TRUE(refused(run(train_local(2, {"train.steps=7"}) + kResume), 2, {"train.steps (7)"}));
}

TEST_F(Resume, OfAFinishedRunDoesNothing) {
  ASSERT_TRUE(succeeded(run(train_local(2, {}))));
  const Metrics before = read_metrics(path("out"));
  ASSERT_TRUE(succeeded(run(train_local(4, {}) + kResume)));
  expect_same_run(before, read_metrics(path("out")));
}

TEST_F(Resume, OfNothingStartsAnew) {
  const CommandResult result = run(train_local(2, {"train.steps=2"}) + kResume);
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(read_metrics(path("out")).losses.size(), 2U);
}

TEST_F(Resume, GoesOnWithMoreStepsAndSaysWhatChanged) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"output.dir=whole"}))));
  ASSERT_TRUE(succeeded(run(train_local(2, {"train.steps=10"}))));
  const CommandResult result = run(train_local(2, {}) + kResume);
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("warning: train.steps is 20 now and was 10"), std::string::npos)
      << result.out;
  expect_same_run(read_metrics(path("whole")), read_metrics(path("out")));
}

TEST_F(Resume, SaysWhichDataAndWhichCourseOfTheLearningRateChanged) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=5"}))));
  write("other.txt", read("text.txt") + read("text.txt"));
  const CommandResult result =
      run(train_local(1, {"train.steps=6", "data.text=other.txt", "optimizer.schedule=linear",
                          "data.validation_fraction=0.2"}) +
          kResume);
  ASSERT_TRUE(succeeded(result));
  for (const std::string key : {"data.text", "optimizer.schedule", "data.validation_fraction"})
    EXPECT_NE(result.out.find("warning: " + key + " is "), std::string::npos) << result.out;
}

TEST_F(Resume, WithMomentsInBFloat16EndsAsIfItHadNeverStopped) {
  for (const std::string precision : {"float32", "bf16"}) {
    SCOPED_TRACE(precision);
    const std::string dir = "out-" + precision;
    const Arguments settings = {"optimizer.moments=bf16", "train.precision=" + precision,
                                "optimizer.schedule=constant"};
    const Arguments to_whole = {"output.dir=whole-" + precision};
    const Arguments to_dir = {"output.dir=" + dir};
    ASSERT_TRUE(succeeded(run(train_local(1, settings + to_whole))));
    ASSERT_TRUE(succeeded(run(train_local(2, settings + to_dir + Arguments{"train.steps=10"}))));
    const CommandResult result =
        run(train_local(4, settings + to_dir + Arguments{"schedule.name=1f1b"}) + kResume);
    ASSERT_TRUE(succeeded(result));
    EXPECT_EQ(result.out.find("warning: optimizer.moments"), std::string::npos) << result.out;
    expect_same_run(read_metrics(path("whole-" + precision)), read_metrics(path(dir)));
  }
}

TEST_F(Resume, ConvertsMomentsAndSaysSo) {
  for (const auto& [before, after] :
       {std::pair<std::string, std::string>{"float32", "bf16"}, {"bf16", "float32"}}) {
    SCOPED_TRACE(before);
    const Arguments to = {"output.dir=from-" + before};
    ASSERT_TRUE(succeeded(
        run(train_local(2, to + Arguments{"optimizer.moments=" + before, "train.steps=5"}))));
    const CommandResult result = run(
        train_local(2, to + Arguments{"optimizer.moments=" + after, "train.steps=7"}) + kResume);
    ASSERT_TRUE(succeeded(result));
    EXPECT_NE(result.out.find("warning: optimizer.moments is " + after + " now and was " + before),
              std::string::npos)
        << result.out;
    // Two steps later the loss is that of somebody who went on, not of one who began anew.
    const Metrics metrics = read_metrics(path("from-" + before));
    EXPECT_LT(metrics.losses.at(7), metrics.losses.at(1));
  }
}

/// A text of this many letters from `first` to the seventh after it.
std::string letters(char first, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += static_cast<char>(first + i * i % 11 % 8);
  return text;
}

TEST_F(Resume, RefusesAnotherVocabularyOfTheSameSize) {
  write("letters.txt", letters('a', 2000));
  const Arguments settings = {"data.text=letters.txt", "data.vocabulary=characters"};
  ASSERT_TRUE(succeeded(run(train_local(1, settings + Arguments{"train.steps=2"}))));
  write("letters.txt", letters('k', 2000));
  EXPECT_TRUE(refused(run(train_local(1, settings) + kResume), 2,
                      {"data.text ([letters.txt])", "data.vocabulary (characters)", "step-00000002",
                       "vocabulary"}));
}

TEST_F(Resume, RefusesOtherDataUnderTheSameName) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=2"}))));
  const std::string text = read("text.txt");
  std::string swapped = text;
  std::swap(swapped[1000], swapped[2001]);
  ASSERT_NE(swapped, text);
  for (const std::string& other : {swapped, text + text}) {
    write("text.txt", other);
    EXPECT_TRUE(refused(run(train_local(1, {}) + kResume), 2,
                        {"data.text ([text.txt])", "training split", "step-00000002"}));
  }
  write("text.txt", text);
  EXPECT_TRUE(succeeded(run(train_local(1, {"train.steps=3"}) + kResume)));
}

TEST_F(Resume, SaysThatOnlyTheValidationSplitChanged) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=2"}))));
  std::string text = read("text.txt");
  text.back() = '!';
  write("text.txt", text);
  const CommandResult result = run(train_local(1, {"train.steps=3"}) + kResume);
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("warning: the validation split is another one"), std::string::npos);
}

TEST_F(Resume, FindsTheSameDataUnderAnotherName) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=2"}))));
  fs::rename(path("text.txt"), path("moved.txt"));
  const CommandResult result =
      run(train_local(1, {"train.steps=2", "data.text=moved.txt"}) + kResume);
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(result.out.find("warning"), std::string::npos) << result.out;
}

TEST_F(Resume, ReadsACheckpointWithoutARecordOfItsData) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"train.steps=2"}))));
  const std::string directory = "out/checkpoints/step-00000002/";
  nlohmann::json state = nlohmann::json::parse(read(directory + "trainer.json"));
  ASSERT_EQ(state.erase("data"), 1U);
  write(directory + "trainer.json", state.dump());
  checkpoint::write_manifest(path(directory));
  EXPECT_TRUE(succeeded(run(train_local(1, {"train.steps=3"}) + kResume)));
}

TEST_F(Resume, KeepsTheNewestCheckpoints) {
  const Arguments settings = {"output.checkpoint_every=3", "output.keep=2"};
  ASSERT_TRUE(succeeded(run(train_local(2, settings))));
  EXPECT_EQ(checkpoint_names(path("out")),
            (std::vector<std::string>{"step-00000018", "step-00000020"}));
  EXPECT_EQ(fs::read_symlink(path("out/checkpoints/latest")), "step-00000020");
}

}  // namespace
}  // namespace halfpipe::tools
