// SPDX-License-Identifier: Apache-2.0
// schedule.name auto without schedule.memory_limit on emulated GPUs: plans for what they have free.
#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

class EmulatedMemory : public CommandTest {
 protected:
  EmulatedMemory() {
    program = HALFPIPE_TEST_EMULATED_COMMAND;
    write("run.yaml",
          R"(model: {num_layers: 6, num_heads: 2, hidden_size: 64, seq_len: 32}
data: {text: text.txt}
train: {steps: 1, micro_batch_size: 2, global_batch_size: 16, evaluate_every: 0}
schedule: {name: auto, search_evaluations: 2000}
device: {kind: cuda}
)");
  }

  /// Each process has a GPU of so many bytes; of threads, all share one.
  [[nodiscard]] CommandResult on_gpus_of(std::int64_t bytes, const Arguments& arguments) {
    options.environment["HALFPIPE_EMULATION_DEVICE_BYTES"] = std::to_string(bytes);
    return run_mpi(2, arguments);
  }
  [[nodiscard]] static Arguments job(const std::string& dir, const Arguments& settings = {}) {
    return train(Arguments{"parallel.pipeline=2", "output.dir=" + dir} + settings);
  }
  /// What a rank may take, and what the smallest schedule takes, as the refusal says.
  struct Refusal {
    std::int64_t limit;
    std::int64_t smallest;
  };
  [[nodiscard]] static Refusal refusal_of(const CommandResult& result) {
    EXPECT_TRUE(refused(result, 2,
                        {"schedule.memory_limit (null: ",
                         "per rank, its share of what its GPU has "
                         "free beside scratch) is too little for any schedule",
                         "the smallest limit that has one is"}));
    return {std::stoll(matches(result.err, R"(null: \S+ MiB \((\d+) B\))")),
            std::stoll(matches(result.err, R"(has one is \S+ MiB \((\d+) B\))"))};
  }
};

constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;

TEST_F(EmulatedMemory, PlansForWhatIsFree) {
  // Products alone take 32 MiB of scratch.
  const Refusal little = refusal_of(on_gpus_of(34 * kMebibyte, job("little")));
  const Refusal more = refusal_of(on_gpus_of(34 * kMebibyte + 100000, job("little")));
  EXPECT_EQ(more.limit - little.limit, 90000);
  EXPECT_EQ(more.smallest, little.smallest);

  // The least that the message names is enough, with a tenth for messages.
  const std::int64_t just = 34 * kMebibyte + (little.smallest - little.limit) * 10 / 9 + 2;
  const CommandResult tight = on_gpus_of(just, job("tight"));
  ASSERT_TRUE(succeeded(tight));
  const CommandResult wide = on_gpus_of(10 * just, job("wide"));
  ASSERT_TRUE(succeeded(wide));
  const std::string bubble = R"(planned bubble (\S+)%)";
  EXPECT_GT(std::stod(matches(tight.out, bubble)), std::stod(matches(wide.out, bubble)) + 5.0)
      << tight.out << wide.out;
  expect_same_run(read_metrics(path("tight")), read_metrics(path("wide")));
}

TEST_F(EmulatedMemory, SharesAGpuAmongItsRanks) {
  const Refusal alone = refusal_of(on_gpus_of(34 * kMebibyte, job("alone")));
  options.environment["HALFPIPE_EMULATION_DEVICE_BYTES"] = std::to_string(68 * kMebibyte);
  options.environment["HALFPIPE_EMULATION_ONE_GPU"] = "1";
  const Refusal shared = refusal_of(run(job("shared") + Arguments{"--local-ranks", "2"}));
  EXPECT_EQ(shared.limit, alone.limit);
}

// Replicas have what the least of them has.
TEST_F(EmulatedMemory, PlansForTheSmallestOfUnlikeGpus) {
  const Refusal least = refusal_of(on_gpus_of(34 * kMebibyte, job("least")));
  const std::string emulated = program;
  program = path("by_rank.sh");
  write("by_rank.sh", "#!/bin/sh\nHALFPIPE_EMULATION_DEVICE_BYTES=$((OMPI_COMM_WORLD_RANK == 1 ? " +
                          std::to_string(34 * kMebibyte) + " : " + std::to_string(35 * kMebibyte) +
                          ")) exec " + emulated + " \"$@\"\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const CommandResult pipeline = run_mpi(2, job("pipeline"));
  EXPECT_EQ(refusal_of(pipeline).limit, least.limit);
  EXPECT_EQ(std::stoll(matches(pipeline.err, R"( to \S+ MiB \((\d+) B\) per rank)")),
            least.limit + kMebibyte * 9 / 10);
  const CommandResult replicas =
      run_mpi(2, job("replicas", {"parallel.pipeline=1", "parallel.data=2"}));
  EXPECT_EQ(refusal_of(replicas).limit, least.limit);
  EXPECT_EQ(replicas.err.find("B) to "), std::string::npos) << replicas.err;
}

// Each schedule finds the device as the job did.
TEST_F(EmulatedMemory, IsBenchmarkedForWhatIsFree) {
  Arguments bench = job("bench");
  bench.front() = "bench";
  bench = bench + Arguments{"--steps", "1", "--schedules"};
  (void)refusal_of(on_gpus_of(34 * kMebibyte, bench + Arguments{"auto"}));
  const CommandResult both = on_gpus_of(46 * kMebibyte, bench + Arguments{"1f1b,auto"});
  ASSERT_TRUE(succeeded(both));
  EXPECT_EQ(both.out.find("its share of"), std::string::npos) << both.out;
}

// A plan is the same on every machine.
TEST_F(EmulatedMemory, IsNotAskedForByAPlan) {
  Arguments plan = job("plan");
  plan.front() = "plan";
  EXPECT_TRUE(
      refused(run(plan), 2,
              {"schedule.memory_limit is missing", "asks no GPU what it has free", "as 40 GiB"}));
}

}  // namespace
}  // namespace halfpipe::tools
