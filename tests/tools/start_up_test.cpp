// SPDX-License-Identifier: Apache-2.0
// Before the first step ranks wait for slow ones without limit, and not at all for dead ones.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/config/load_config.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/training/stop_signal.h"
#include "engine/runtime/training/training_run.h"
#include "kernels/core/error.h"
#include "kernels/core/pinning.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

using StartUp = CommandTest;

/// A pipe that takes no byte: who writes the report of the start there stands still for ever.
class FullPipe {
 public:
  explicit FullPipe(const fs::path& path) {
    if (::mkfifo(path.c_str(), S_IRUSR | S_IWUSR) != 0) throw std::runtime_error("no fifo");
    descriptor_ = ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    while (::write(descriptor_, "x", 1) == 1) {
    }
  }
  ~FullPipe() { ::close(descriptor_); }
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;

 private:
  int descriptor_ = -1;
};

TEST_F(StartUp, TakesLongerThanTheTimeout) {
  const Arguments settings = {"data.text=" + path("text.txt").string(),
                              "output.dir=" + path("out").string(), "train.steps=2",
                              "debug.timeout_seconds=0.5"};
  std::atomic<int> num_started = 0;
  const runtime::TrainingRequest request{
      .load_config = [&] { return config::load_config(path("run.yaml"), settings); },
      .resume = std::nullopt,
      .make_backend =
          [&](const config::RunConfig&, const runtime::RankThreads& threads, int /*rank*/) {
            // One rank takes its time, as with a large model or a slow disk.
            if (num_started++ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
            return cpu::make_cpu_backend(threads.count);
          }};
  transport::LocalGroup group(2);
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < 2; ++rank) {
      ranks.emplace_back([&, rank] {
        const auto transport = group.make_transport(rank);
        try {
          runtime::run_training(request, *transport);
        } catch (const std::exception& error) {
          ADD_FAILURE() << "rank " << rank << ": " << error.what();
          group.abort(1, "another rank failed");
        }
      });
    }
  }
  EXPECT_EQ(read_metrics(path("out")).end_step, 2);
}

TEST_F(StartUp, MakesNoFolderWhereTheDeviceIsMissing) {
  const Arguments settings = {"data.text=" + path("text.txt").string(),
                              "output.dir=" + path("out").string(), "parallel.pipeline=1"};
  const runtime::TrainingRequest request{
      .load_config = [&] { return config::load_config(path("run.yaml"), settings); },
      .resume = std::nullopt,
      .make_backend = [](const config::RunConfig&, const runtime::RankThreads& /*threads*/,
                         int /*rank*/) -> std::unique_ptr<device::Backend> {
        throw RuntimeFailure("no such device");
      }};
  transport::LocalGroup group(1);
  EXPECT_THROW(runtime::run_training(request, *group.make_transport(0)), runtime::AgreedError);
  EXPECT_FALSE(fs::exists(path("out")));
}

/// The CPUs that each thread of a process may use, as the system writes them.
std::vector<std::string> cpus_of_threads(pid_t process) {
  std::vector<std::string> cpus;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    std::ifstream status(task.path() / "status");
    const std::string label = "Cpus_allowed_list:\t";
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with(label)) cpus.push_back(line.substr(label.size()));
    }
  }
  std::ranges::sort(cpus);
  return cpus;
}

TEST_F(StartUp, KeepsEachThreadOnACpuWhenAsked) {
  const std::vector<int> usable = usable_cpus();
  if (usable.size() < 2) GTEST_SKIP() << "needs two CPUs";
  const auto command = start(train_local(2, {"train.steps=100000", "device.pin_threads=true"}));
  ASSERT_TRUE(wait_for_step(path("out"), 1, 30.0));
  const std::vector<std::string> seen = cpus_of_threads(command->pid());
  const std::vector<int> wanted = cpus_by_core(usable);
  for (const int cpu : {wanted[0], wanted[1]}) {
    EXPECT_EQ(std::ranges::count(seen, std::to_string(cpu)), 1) << "CPU " << cpu;
  }
  command->signal(SIGTERM);
  EXPECT_EQ(command->wait(20.0).exit_code, 0);
}

TEST_F(StartUp, NoticesARankThatDies) {
  // Rank 0 waits for a reader of its report that never comes, and rank 1 for rank 0.
  const FullPipe pipe(path("pipe"));
  const auto command =
      start_mpi_by_rank({{.arguments = train({}), .output = "pipe"}, {.arguments = train({})}});
  std::optional<pid_t> victim;
  for (int i = 0; i < 500 && !victim; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    victim = command->rank_process(0);
  }
  ASSERT_TRUE(victim.has_value());
  // Time to get there; a rank that dies before it has entered MPI is the launcher's to notice.
  std::this_thread::sleep_for(std::chrono::seconds(2));
  ASSERT_TRUE(command->running());
  ::kill(*victim, SIGKILL);
  const CommandResult result = command->wait(10.0);
  EXPECT_FALSE(result.timed_out);
  EXPECT_NE(result.exit_code, 0);
  ASSERT_EQ(error_lines(result.err).size(), 1U) << result.err;
  EXPECT_NE(error_lines(result.err)[0].find("has died outside a step: loading the parameters"),
            std::string::npos)
      << result.err;
}

TEST_F(StartUp, OfThreadsEndsByASignalAtOnce) {
  const FullPipe pipe(path("pipe"));
  options.output = path("pipe");
  const auto command = start(train_local(2, {}));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ASSERT_TRUE(command->running());
  command->signal(SIGTERM);
  EXPECT_EQ(command->wait(2.0).exit_code, 128 + SIGTERM);
}

// In a process of its own: the signal is remembered.
TEST_F(StartUp, OfALaunchedJobEndsByASignalAtTheNextPhase) {
  const Arguments settings = {"data.text=" + path("text.txt").string(),
                              "output.dir=" + path("out").string(), "parallel.pipeline=1",
                              "schedule.name=1f1b"};
  const auto start_and_raise = [&] {
    runtime::install_stop_signals();
    const runtime::TrainingRequest request{
        .load_config = [&] { return config::load_config(path("run.yaml"), settings); },
        .resume = std::nullopt,
        .make_backend =
            [](const config::RunConfig&, const runtime::RankThreads& threads, int /*rank*/) {
              ::raise(SIGTERM);
              return cpu::make_cpu_backend(threads.count);
            }};
    transport::LocalGroup group(1);
    try {
      runtime::run_training(request, *group.make_transport(0));
    } catch (const runtime::AgreedError& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(error.exit_code());
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(start_and_raise(), testing::ExitedWithCode(1), "by a signal before the first step");
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace halfpipe::tools
