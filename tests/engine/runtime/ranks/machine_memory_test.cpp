// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/machine_memory.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/engine/files/temporary_folder.h"

namespace halfpipe::runtime {
namespace {

constexpr std::int64_t kGibibyte = std::int64_t{1} << 30;

/// A machine of 16 GiB.
class MachineMemory : public testing::Test {
 protected:
  void SetUp() override {
    root_.write("proc/meminfo", "MemFree: 1024 kB\nMemTotal:       16777216 kB\n");
  }
  void write(const std::string& file, const std::string& text) const { root_.write(file, text); }
  [[nodiscard]] std::int64_t gibibytes() const {
    return memory_of_machine(root_.path()) / kGibibyte;
  }

 private:
  files::TemporaryFolder root_;
};

TEST_F(MachineMemory, IsPhysicalWithoutAControlGroup) {
  EXPECT_EQ(gibibytes(), 16);
}

TEST_F(MachineMemory, IsTheLimitOfTheControlGroup) {
  write("proc/self/cgroup", "0::/jobs/mine\n");
  write("sys/fs/cgroup/jobs/mine/memory.max", "8589934592\n");
  EXPECT_EQ(gibibytes(), 8);
  // A group around it allows less.
  write("sys/fs/cgroup/jobs/memory.max", "4294967296\n");
  EXPECT_EQ(gibibytes(), 4);
  write("sys/fs/cgroup/jobs/memory.max", "max\n");
  EXPECT_EQ(gibibytes(), 8);
  // More than there is, is none.
  write("sys/fs/cgroup/jobs/mine/memory.max", "34359738368\n");
  EXPECT_EQ(gibibytes(), 16);
}

TEST_F(MachineMemory, IsTheLimitOfAControlGroupOfVersionOne) {
  write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/a\n3:cpuset:/\n0::/\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2147483648\n");
  EXPECT_EQ(gibibytes(), 2);
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(gibibytes(), 16);
}

// A container may see the host's name of its group, which is not below its own mount.
TEST_F(MachineMemory, IsTheLimitOfTheTopmostGroupInAContainer) {
  for (const char* group : {"/docker/0123abcd", "/../../outside", "/"}) {
    write("proc/self/cgroup", std::string("0::") + group + "\n");
    write("sys/fs/cgroup/memory.max", "3221225472\n");
    EXPECT_EQ(gibibytes(), 3) << group;
  }
}

TEST_F(MachineMemory, PassesOverWhatIsNoNumber) {
  write("proc/self/cgroup", "nonsense\n0::/\n1:memory:/\n");
  write("sys/fs/cgroup/memory.max", "");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "-1\n");
  EXPECT_EQ(gibibytes(), 16);
}

TEST(MemoryOfThisMachine, IsThere) {
  EXPECT_GT(memory_of_machine(), 0);
  EXPECT_GT(memory_of_machine("/no/such/root"), 0);
}

int ranks_with(const std::map<std::string, std::string>& variables, int num_ranks) {
  return ranks_on_this_machine(num_ranks, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(RanksOnThisMachine, AreThoseThatALauncherNames) {
  EXPECT_EQ(ranks_with({}, 8), 8);
  EXPECT_EQ(ranks_with({{"OMPI_COMM_WORLD_SIZE", "8"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}, 8), 2);
  EXPECT_EQ(ranks_with({{"PMI_SIZE", "8"}, {"MPI_LOCALNRANKS", "4"}}, 8), 4);
  EXPECT_EQ(
      ranks_with({{"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x2),4"}}, 8), 4);
}

// Ranks as threads within another program's job, and numbers that make no sense.
TEST(RanksOnThisMachine, AreAllWhereTheLauncherStartedSomethingElse) {
  EXPECT_EQ(ranks_with({{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_STEP_TASKS_PER_NODE", "1"}}, 8), 8);
  EXPECT_EQ(ranks_with({{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}, 8), 8);
  for (const char* here : {"", "none", "0", "-1", "9"}) {
    EXPECT_EQ(ranks_with({{"OMPI_COMM_WORLD_SIZE", "8"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", here}}, 8),
              8)
        << here;
  }
}

}  // namespace
}  // namespace halfpipe::runtime
