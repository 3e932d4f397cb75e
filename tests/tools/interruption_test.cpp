// SPDX-License-Identifier: Apache-2.0
// Jobs that are killed, stopped or asked to end: one message of ours where something was lost, a
// checkpoint to go on from, and after that the parameters of a run that was never interrupted.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <regex>
#include <thread>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSteps = 50;

/// Steps of ten milliseconds or more, so that a signal meets the job in the middle of one.
class Interruption : public CommandTest {
 protected:
  static constexpr const char* kRanks = "4";

  [[nodiscard]] static Arguments job() {
    return train({"train.steps=" + std::to_string(kSteps), "model.hidden_size=64",
                  "train.micro_batch_size=16", "train.global_batch_size=128",
                  "train.evaluate_every=0", "parallel.pipeline=4", "output.checkpoint_every=10",
                  "output.keep=0", "debug.timeout_seconds=2"});
  }
  [[nodiscard]] static Arguments local_job() { return job() + Arguments{"--local-ranks", kRanks}; }

  void SetUp() override {
    ASSERT_TRUE(succeeded(run(local_job() + Arguments{"--set", "output.dir=whole"})));
    whole_ = read_metrics(path("whole"));
    ASSERT_EQ(whole_.end_step, kSteps);
  }
  /// The job under mpirun, once it has a checkpoint and is on its way to the next.
  [[nodiscard]] std::unique_ptr<Command> start_and_wait(const Arguments& more = {}) const {
    std::unique_ptr<Command> command = start_mpi(4, job() + more);
    EXPECT_TRUE(wait_for_step(path("out"), 14, 30.0)) << command->wait(1.0).err;
    return command;
  }
  /// Whether a file of a checkpoint has been created and has no name yet.
  [[nodiscard]] static bool has_partial_file(const fs::path& working) {
    std::error_code error;
    for (const auto& item : fs::directory_iterator(working, error)) {
      if (item.path().extension() == ".partial") return true;
    }
    return false;
  }
  /// Stops a rank for good, most likely while it waits for its neighbour or one beyond: the
  /// neighbour stands still for a while before. Gives its process.
  [[nodiscard]] static std::optional<pid_t> stop_while_it_waits(const Command& command,
                                                                int rank,
                                                                int neighbour) {
    const auto victim = command.rank_process(rank);
    const auto other = command.rank_process(neighbour);
    if (!victim || !other) return std::nullopt;
    ::kill(*other, SIGSTOP);
    // Many steps, and far below the timeout.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ::kill(*victim, SIGSTOP);
    ::kill(*other, SIGCONT);
    return victim;
  }
  void expect_resumes_to_the_same_end() {
    ASSERT_LT(read_metrics(path("out")).losses.rbegin()->first, kSteps)
        << "the signal came too late";
    const CommandResult resumed = run_mpi(4, job() + Arguments{"--resume", "auto"});
    ASSERT_TRUE(succeeded(resumed));
    EXPECT_EQ(resumed.out.find("step  1/"), std::string::npos) << "started anew";
    expect_same_run(whole_, read_metrics(path("out")));
  }
  /// It saved at the step where it ended, and said so.
  void expect_saved_and_ended(const CommandResult& result) {
    ASSERT_TRUE(succeeded(result));
    const Metrics metrics = read_metrics(path("out"));
    EXPECT_LT(metrics.end_step, kSteps) << "the signal came too late";
    EXPECT_EQ(metrics.losses.rbegin()->first, metrics.end_step);
    const std::string step = std::to_string(metrics.end_step);
    EXPECT_EQ(checkpoint_names(path("out")).back(),
              "step-" + std::string(8 - step.size(), '0') + step);
    EXPECT_NE(result.out.find("stopped by a signal after step " + step), std::string::npos);
  }

  Metrics whole_;
};

TEST_F(Interruption, AKilledRankIsNamedAndTheRunGoesOn) {
  const auto command = start_and_wait();
  const auto victim = command->rank_process(2);
  ASSERT_TRUE(victim.has_value());
  ::kill(*victim, SIGKILL);
  const CommandResult result = command->wait(10.0);
  EXPECT_FALSE(result.timed_out) << result.err;
  EXPECT_NE(result.exit_code, 0);
  const std::vector<std::string> errors = error_lines(result.err);
  ASSERT_EQ(errors.size(), 1U) << result.err;
  EXPECT_NE(errors[0].find("rank 2/4 (pid " + std::to_string(*victim) + ") has died"),
            std::string::npos)
      << errors[0];
  expect_resumes_to_the_same_end();
}

class InterruptedSave : public Interruption, public testing::WithParamInterface<const char*> {};

TEST_P(InterruptedSave, OfARankThatIsKilledLeavesTheCheckpointBefore) {
  // Between the creation of a file and its name; a look may come too late: then anew.
  const std::string setting = std::string("output.asynchronous_checkpoints=") + GetParam();
  constexpr int kTries = 8;
  bool was_written = false;
  for (int i = 0; i < kTries && !was_written; ++i) {
    fs::remove_all(path("out"));
    const auto command = start_and_wait({"--set", setting});
    const fs::path working = path("out/checkpoints/.tmp-step-00000020");
    const auto victim = command->rank_process(2);
    ASSERT_TRUE(victim.has_value());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!has_partial_file(working) && std::chrono::steady_clock::now() < deadline) {
    }
    ::kill(*victim, SIGKILL);
    EXPECT_FALSE(command->wait(10.0).timed_out);
    was_written = checkpoint_names(path("out")).back() == "step-00000010";
  }
  EXPECT_TRUE(was_written);
  EXPECT_EQ(fs::read_symlink(path("out/checkpoints/latest")), "step-00000010");
  expect_resumes_to_the_same_end();
}

INSTANTIATE_TEST_SUITE_P(All,
                         InterruptedSave,
                         testing::Values("false", "true"),
                         [](const auto& tested) {
                           const bool is_asynchronous = std::string(tested.param) == "true";
                           return is_asynchronous ? "Asynchronous" : "Waiting";
                         });

TEST_F(Interruption, AStoppedRankIsNamedWithItsInstructionAndTheRunGoesOn) {
  // Who waited for whom (or in a reduction, where all wait for all), who is to blame, and where it
  // stands. The stop may also fall between two steps, where there is no instruction: then anew.
  const std::string waiting =
      R"(error: rank [023]/4 waited 2\.\d s (for rank \d \((receive|send)\), at step \d+, )"
      R"(instruction \d+: wait_(recv|send) \(.*\)|in the all_reduce_sum, .*); )";
  const std::string instruction =
      R"(\d+, instruction \d+: \w+ \((activation|gradient) of micro-batch \d+, )"
      R"(stage \d+ to \d+\), peer rank [02]; ending the job)";
  constexpr int kTries = 6;
  std::string error;
  bool inside_an_instruction = false;
  for (int i = 0; i < kTries && !inside_an_instruction; ++i) {
    fs::remove_all(path("out"));
    const auto command = start_and_wait();
    const auto victim = stop_while_it_waits(*command, 1, 2);
    ASSERT_TRUE(victim.has_value());
    const CommandResult result = command->wait(10.0);
    EXPECT_FALSE(result.timed_out) << result.err;
    EXPECT_EQ(result.exit_code, 1);
    ASSERT_EQ(error_lines(result.err).size(), 1U) << result.err;
    error = error_lines(result.err).front();
    const std::string blamed = waiting + R"(rank 1/4 \(pid )" + std::to_string(*victim) +
                               R"(\) is stopped \(state T\) at step )";
    EXPECT_TRUE(std::regex_search(error, std::regex(blamed))) << result.err;
    inside_an_instruction = std::regex_search(error, std::regex(blamed + instruction));
  }
  EXPECT_TRUE(inside_an_instruction) << error;
  expect_resumes_to_the_same_end();
}

TEST_F(Interruption, UserSignalToMpirunSavesAndEnds) {
  const auto command = start_and_wait();
  command->signal(SIGUSR1);
  expect_saved_and_ended(command->wait(20.0));
  expect_resumes_to_the_same_end();
}

TEST_F(Interruption, TerminationOfOneRankSavesAndEnds) {
  const auto command = start_and_wait();
  const auto rank = command->rank_process(3);
  ASSERT_TRUE(rank.has_value());
  ::kill(*rank, SIGTERM);
  expect_saved_and_ended(command->wait(20.0));
}

TEST_F(Interruption, TerminationOfALocalJobSavesAndEnds) {
  for (const int signal : {SIGTERM, SIGUSR1}) {
    fs::remove_all(path("out"));
    const auto command = start(local_job());
    ASSERT_TRUE(wait_for_step(path("out"), 5, 30.0));
    command->signal(signal);
    expect_saved_and_ended(command->wait(20.0));
  }
  expect_resumes_to_the_same_end();
}

TEST_F(Interruption, TerminationOfMpirunLeavesTheLastCheckpointWhole) {
  // mpirun kills the ranks about two seconds later, most likely while they write a checkpoint.
  const auto command =
      start_mpi(4, job() + Arguments{"--set", "train.steps=1000000", "--set",
                                     "output.checkpoint_every=1", "--set", "output.keep=3"});
  ASSERT_TRUE(wait_for_step(path("out"), 5, 30.0));
  command->signal(SIGTERM);
  EXPECT_FALSE(command->wait(20.0).timed_out);
  EXPECT_TRUE(succeeded(run({"inspect", "out"})));
  const std::int64_t done = read_metrics(path("out")).losses.rbegin()->first;
  const CommandResult resumed =
      run(local_job() + Arguments{"--set", "train.steps=" + std::to_string(done + 2), "--resume"});
  EXPECT_TRUE(succeeded(resumed));
  EXPECT_EQ(resumed.out.find("is not whole"), std::string::npos) << resumed.out;
  const Metrics metrics = read_metrics(path("out"));
  EXPECT_EQ(metrics.end_step, done + 2);
  for (const auto& [step, loss] : whole_.losses) {
    if (metrics.losses.contains(step)) {
      EXPECT_EQ(metrics.losses.at(step), loss) << step;
    }
  }
}

TEST_F(Interruption, AKilledLocalJobGoesOn) {
  const auto command = start(local_job());
  ASSERT_TRUE(wait_for_step(path("out"), 14, 30.0));
  command->signal(SIGKILL);
  EXPECT_EQ(command->wait(5.0).exit_code, 128 + SIGKILL);
  expect_resumes_to_the_same_end();
}

// ---- ranks that are threads, one of which stands still ----

/// A pipe that nobody reads, where rank 0 writes its metrics: after a few steps it blocks for ever.
class FullPipe {
 public:
  explicit FullPipe(const fs::path& path) {
    fs::create_directories(path.parent_path());
    if (::mkfifo(path.c_str(), S_IRUSR | S_IWUSR) != 0) throw std::runtime_error("no fifo");
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    constexpr int kBytes = 4096;  // a dozen records
    ::fcntl(descriptor_, F_SETPIPE_SZ, kBytes);
  }
  ~FullPipe() { ::close(descriptor_); }
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;

 private:
  int descriptor_ = -1;
};

using LocalWatchdog = CommandTest;

TEST_F(LocalWatchdog, ARankThatStandsStillIsReportedOnceAndTheJobEnds) {
  const FullPipe pipe(path("out") / "metrics.jsonl");
  // GPipe sends activations one way first, so that every rank ends up waiting for its neighbour.
  const auto command = start(train_local(4, {"schedule.name=gpipe", "train.steps=100000",
                                             "train.evaluate_every=0", "debug.timeout_seconds=1"}));
  const CommandResult result = command->wait(20.0);
  EXPECT_FALSE(result.timed_out) << "rank 0 blocks for ever, the others must end the job";
  EXPECT_EQ(result.exit_code, 1);
  ASSERT_EQ(error_lines(result.err).size(), 1U) << result.err;
  const std::string error = error_lines(result.err).front();
  EXPECT_TRUE(std::regex_search(
      error, std::regex(R"(error: rank [123]/4 waited 1\.\d s for rank [012] \(receive\), )"
                        R"(at step \d+, instruction \d+: wait_recv)")))
      << result.err;
  EXPECT_NE(error.find("; rank 0/4 (pid "), std::string::npos) << result.err;
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_NE(result.err.find("\n  rank " + std::to_string(rank) + "/4 (pid "), std::string::npos)
        << result.err;
  }
}

}  // namespace
}  // namespace halfpipe::tools
