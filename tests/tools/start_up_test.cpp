// SPDX-License-Identifier: Apache-2.0
// Before the first step ranks wait for slow ones without limit, and not at all for dead ones.
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "engine/config/load_config.h"
#include "engine/runtime/training_run.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

using StartUp = CommandTest;

TEST_F(StartUp, TakesLongerThanTheTimeout) {
  const Arguments settings = {"data.text=" + path("text.txt").string(),
                              "output.dir=" + path("out").string(), "train.steps=2",
                              "debug.timeout_seconds=0.5"};
  std::atomic<int> num_started = 0;
  const runtime::TrainingRequest request{
      .load_config = [&] { return config::load_config(path("run.yaml"), settings); },
      .resume = std::nullopt,
      .make_backend =
          [&](const config::DeviceConfig&, int threads) {
            // One rank takes its time, as with a large model or a slow disk.
            if (num_started++ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
            return cpu::make_cpu_backend(threads);
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

TEST_F(StartUp, NoticesARankThatDies) {
  // Rank 0 opens its metrics, a pipe, and waits for a reader that never comes; rank 1 waits for it.
  fs::create_directories(path("out"));
  ASSERT_EQ(::mkfifo(path("out/metrics.jsonl").c_str(), S_IRUSR | S_IWUSR), 0);
  const auto command = start_mpi(2, train({}));
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

}  // namespace
}  // namespace halfpipe::tools
