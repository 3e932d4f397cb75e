// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/checkpoint_store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include "engine/checkpoint/manifest.h"
#include "engine/checkpoint/resume.h"
#include "kernels/core/error.h"
#include "tests/engine/checkpoint/saved_checkpoint.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

class Store : public testing::Test {
 protected:
  [[nodiscard]] std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> steps;
    for (const CheckpointEntry& entry : list_checkpoints(run_)) steps.push_back(entry.step);
    return steps;
  }

  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& item : fs::directory_iterator(run_ / "checkpoints")) {
      names.push_back(item.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  /// The step that `--resume auto` goes on from; the checkpoint must be what was saved for it.
  [[nodiscard]] std::int64_t resumed_step() const {
    const ResumePoint point = resolve_resume(run_, "auto");
    if (!point.directory) return -1;
    const std::int64_t step = read_trainer_state(*point.directory).step;
    std::vector<float> values(20'000);
    const ModelReader reader(*point.directory);
    reader.tensors.read_float32("transformer.h.1.ln_1.weight", {20'000}, values);
    EXPECT_EQ(values, std::vector<float>(20'000, static_cast<float>(step)));
    return step;
  }

  ScratchDirectory scratch_;
  fs::path run_ = scratch_ / "runs/one";
};

using Names = std::vector<std::string>;
using Steps = std::vector<std::int64_t>;

TEST_F(Store, SavesUnderTheStepAndPointsLatestThere) {
  CheckpointStore store(run_, 3);
  store.prepare();
  EXPECT_EQ(find_latest(run_), std::nullopt);
  EXPECT_EQ(save(store, 500), run_ / "checkpoints/step-00000500");
  EXPECT_EQ(names(), (Names{"latest", "step-00000500"}));
  EXPECT_EQ(fs::read_symlink(run_ / "checkpoints/latest"), "step-00000500");
  EXPECT_EQ(find_latest(run_), run_ / "checkpoints/step-00000500");
  EXPECT_NO_THROW(verify_directory(run_ / "checkpoints/latest"));
}

TEST_F(Store, KeepsTheNewest) {
  CheckpointStore store(run_, 2);
  store.prepare();
  for (const std::int64_t step : {100, 200, 300, 400}) save(store, step);
  EXPECT_EQ(steps(), (Steps{400, 300}));
  EXPECT_EQ(names(), (Names{"latest", "step-00000300", "step-00000400"}));
}

TEST_F(Store, KeepZeroKeepsAllAndKeepOneTheNewest) {
  CheckpointStore all(run_, 0);
  all.prepare();
  for (const std::int64_t step : {100, 200, 300}) save(all, step);
  EXPECT_EQ(steps(), (Steps{300, 200, 100}));
  CheckpointStore one(run_, 1);
  save(one, 400);
  EXPECT_EQ(steps(), (Steps{400}));
}

TEST_F(Store, NeverRemovesWhatIsNoCheckpointOfOurs) {
  CheckpointStore store(run_, 1);
  store.prepare();
  const fs::path folder = run_ / "checkpoints";
  const Names others{".tmp-notes",    "notes",  "set-aside-step-00000001",
                     "step-00000001", "step-1", "step-best"};
  for (const std::string& name : others)
    fs::create_directory(folder / name);  // step-00000001 has no manifest
  save(store, 100);
  save(store, 200);
  store.prepare();
  store.clear_leftovers();
  Names expected = others;
  expected.insert(expected.end(), {"latest", "step-00000200"});
  std::ranges::sort(expected);
  EXPECT_EQ(names(), expected);
}

TEST_F(Store, NeverRemovesTheOneJustSavedNorTheNewest) {
  CheckpointStore store(run_, 1);
  store.prepare();
  save(store, 1000);
  save(store, 500);  // as after resuming from an older one without setting the later ones aside
  EXPECT_EQ(steps(), (Steps{1000, 500}));
}

TEST_F(Store, SavingAStepAgainReplacesIt) {
  CheckpointStore store(run_, 3);
  store.prepare();
  save(store, 100);
  write_bytes(store.directory_of(100) / "trainer.json", "damaged");
  save(store, 100);
  EXPECT_EQ(names(), (Names{"latest", "step-00000100"}));
  EXPECT_EQ(resumed_step(), 100);
}

TEST_F(Store, SetsAsideWhatCameAfterTheResumedStep) {
  CheckpointStore store(run_, 0);
  store.prepare();
  for (const std::int64_t step : {100, 200, 300}) save(store, step);
  EXPECT_EQ(store.set_aside_after(100).size(), 2U);
  EXPECT_EQ(names(), (Names{"latest", "set-aside-step-00000200", "set-aside-step-00000300",
                            "step-00000100"}));
  EXPECT_EQ(find_latest(run_), store.directory_of(100));
  save(store, 200);
  EXPECT_EQ(store.set_aside_after(100),
            (std::vector{run_ / "checkpoints/set-aside-step-00000200-2"}));
  EXPECT_EQ(resumed_step(), 100);
  EXPECT_TRUE(store.set_aside_after(100).empty());
}

TEST_F(Store, AnAbandonedSaveLeavesNothing) {
  CheckpointStore store(run_, 3);
  store.prepare();
  write_contents(store.begin(7), 7);
  store.abandon(7);
  EXPECT_TRUE(names().empty());
}

/// How far a save of step 200 gets before the process dies.
struct CrashCase {
  std::string name;
  std::function<void(CheckpointStore&)> save_part;
  std::int64_t resumes_from;
};

class StoreCrash : public Store, public testing::WithParamInterface<CrashCase> {};

TEST_P(StoreCrash, LeavesAWholeCheckpointThatAutoFinds) {
  CheckpointStore store(run_, 1);
  store.prepare();
  save(store, 100);
  GetParam().save_part(store);

  EXPECT_EQ(resumed_step(), GetParam().resumes_from);  // as `generate` or `evaluate` would see it
  CheckpointStore next_run(run_, 1);
  next_run.prepare();
  EXPECT_EQ(resumed_step(), GetParam().resumes_from);
  next_run.clear_leftovers();
  EXPECT_EQ(resumed_step(), GetParam().resumes_from);
  EXPECT_NO_THROW(verify_directory(*find_latest(run_)));
  for (const std::string& name : names()) EXPECT_NE(name[0], '.') << name << " was left behind";
  save(next_run, 300);
  EXPECT_EQ(resumed_step(), 300);
  EXPECT_EQ(names(), (Names{"latest", "step-00000300"}));
}

void save_until_sealed(CheckpointStore& store) {
  write_contents(store.begin(200), 200);
  store.seal(200);
}

INSTANTIATE_TEST_SUITE_P(
    All,
    StoreCrash,
    testing::Values(
        CrashCase{"AfterBegin", [](CheckpointStore& store) { store.begin(200); }, 100},
        CrashCase{"InTheMiddleOfAFile",
                  [](CheckpointStore& store) {
                    write_bytes(store.begin(200) / "model-00001-of-00002.safetensors.partial",
                                "half");
                  },
                  100},
        CrashCase{"BeforeTheManifest",
                  [](CheckpointStore& store) { write_contents(store.begin(200), 200); }, 100},
        CrashCase{"BeforeTheRename", save_until_sealed, 100},
        CrashCase{"BeforeLatest",
                  [](CheckpointStore& store) {
                    save_until_sealed(store);
                    store.publish(200);
                  },
                  200},
        CrashCase{"WhileLatestIsReplaced",
                  [](CheckpointStore& store) {
                    save_until_sealed(store);
                    store.publish(200);
                    const fs::path folder = store.directory_of(200).parent_path();
                    fs::create_directory_symlink("step-00000200", folder / ".latest.partial");
                  },
                  200},
        CrashCase{"BeforePruning",
                  [](CheckpointStore& store) {
                    save_until_sealed(store);
                    store.publish(200);
                    store.point_latest(200);
                  },
                  200},
        CrashCase{"WhilePruning",
                  [](CheckpointStore& store) {
                    save_until_sealed(store);
                    store.publish(200);
                    store.point_latest(200);
                    const fs::path folder = store.directory_of(200).parent_path();
                    fs::rename(store.directory_of(100), folder / ".removed-step-00000100");
                    fs::remove(folder / ".removed-step-00000100/config.json");
                  },
                  200}),
    [](const auto& tested) { return tested.param.name; });

TEST_F(Store, ACrashBetweenTheTwoRenamesOfAReplacementIsMended) {
  CheckpointStore store(run_, 1);
  store.prepare();
  save(store, 100);
  write_contents(store.begin(100), 100);
  store.seal(100);
  fs::rename(store.directory_of(100), run_ / "checkpoints/.replaced-step-00000100");
  store.prepare();
  EXPECT_EQ(resumed_step(), 100);
  store.clear_leftovers();
  EXPECT_EQ(names(), (Names{"latest", "step-00000100"}));
  EXPECT_EQ(resumed_step(), 100);
}

/// Runs in a child process until it is killed; an exception aborts it.
[[noreturn]] void save_forever(const fs::path& run, std::int64_t first_step) noexcept {
  CheckpointStore store(run, 2);
  store.prepare();
  for (std::int64_t step = first_step;; ++step) save(store, step);
}

TEST_F(Store, KilledAtAnyMomentTheNewestWholeOneIsThere) {
  // A child saves as fast as it can and is killed after a random time; every next run goes on from
  // what it finds.
  std::int64_t last = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = fork();
    if (child == 0) save_forever(run_, last + 1);
    // The first round lasts until there is something to lose, however slow the disk.
    while (!find_latest(run_)) {
      ASSERT_EQ(waitpid(child, nullptr, WNOHANG), 0) << "the child ended by itself";
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500 + 777 * round));
    ASSERT_EQ(waitpid(child, nullptr, WNOHANG), 0) << "the child ended by itself";
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const ResumePoint point = resolve_resume(run_, "auto");
    EXPECT_TRUE(point.warnings.empty()) << point.warnings.front();
    const std::int64_t now = resumed_step();
    EXPECT_TRUE(last == 0 || now >= last)
        << "step " << last << " was lost, step " << now << " is the newest";
    last = std::max<std::int64_t>(now, 0);
  }
  EXPECT_GT(last, 0) << "no round was long enough for one save";
}

TEST_F(Store, AnOutputFolderThatCannotBeMadeIsTheUsersError) {
  write_bytes(scratch_ / "file", "");
  CheckpointStore store(scratch_ / "file/run", 3);
  const std::string message = message_of<ConfigError>([&] { store.prepare(); });
  EXPECT_TRUE(contains(message, "output.dir") && contains(message, "Not a directory")) << message;
}

TEST_F(Store, AFolderInThePlaceOfTheLinkIsRefused) {
  fs::create_directories(run_ / "checkpoints/latest/folder");
  CheckpointStore store(run_, 3);
  const std::string message = message_of<ConfigError>([&] { store.prepare(); });
  EXPECT_TRUE(contains(message, "output.dir") && contains(message, "checkpoints/latest"))
      << message;
}

TEST_F(Store, WhatMakesSealingFailIsAFailureWithItsName) {
  CheckpointStore store(run_, 3);
  store.prepare();
  fs::create_directory(store.begin(1) / "folder");
  const std::string message = message_of<RuntimeFailure>([&] { store.finish(1); });
  EXPECT_TRUE(contains(message, "folder")) << message;
  EXPECT_TRUE(list_checkpoints(run_).empty());
}

TEST_F(Store, AFolderThatVanishedIsAFailureWithItsName) {
  CheckpointStore store(run_, 3);
  store.prepare();
  fs::remove_all(run_);
  write_bytes(run_, "a file now");
  const std::string message = message_of<RuntimeFailure>([&] { store.begin(1); });
  EXPECT_TRUE(contains(message, run_.string())) << message;
}

}  // namespace
}  // namespace halfpipe::checkpoint
