// SPDX-License-Identifier: Apache-2.0
// How the ranks of a machine share its CPUs.
#include "engine/runtime/host_cores.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/pinning.h"
#include "parallel/transport/local_group.h"

namespace halfpipe::runtime {
namespace {

/// Runs body on a thread for each of num_ranks ranks.
void on_ranks(int num_ranks, const std::function<void(transport::Transport&)>& body) {
  transport::LocalGroup group(num_ranks);
  std::vector<std::jthread> ranks;
  for (int rank = 0; rank < num_ranks; ++rank) {
    ranks.emplace_back([&, rank] { body(*group.make_transport(rank)); });
  }
}

config::DeviceConfig cpu_device(int threads, bool pinned) {
  config::DeviceConfig device;
  device.threads_per_rank = threads;
  device.pin_threads = pinned;
  return device;
}

class HostCoresTest : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("OMP_NUM_THREADS"); }
};

TEST_F(HostCoresTest, DividesCpusAmongThoseWhoShareThem) {
  HostCores cores{{0, 1, 2, 3, 4, 5, 6}, /*num_sharers=*/1, /*position=*/0};
  EXPECT_EQ(resolve_threads(cpu_device(0, false), cores).count, 7);
  cores.num_sharers = 3;
  EXPECT_EQ(resolve_threads(cpu_device(0, false), cores).count, 2);
  cores.num_sharers = 8;
  EXPECT_EQ(resolve_threads(cpu_device(0, false), cores).count, 1);
  EXPECT_TRUE(resolve_threads(cpu_device(0, false), cores).pinned_cpus.empty());
  EXPECT_EQ(resolve_threads(cpu_device(5, false), cores).count, 5);
}

TEST_F(HostCoresTest, GivesEveryThreadACpuOfItsOwn) {
  std::set<int> taken;
  for (int position = 0; position < 3; ++position) {
    const HostCores cores{{1, 2, 5, 6, 8, 9, 12}, 3, position};
    const RankThreads threads = resolve_threads(cpu_device(2, true), cores);
    EXPECT_EQ(threads.count, 2);
    ASSERT_EQ(threads.pinned_cpus.size(), 2U);
    taken.insert(threads.pinned_cpus.begin(), threads.pinned_cpus.end());
  }
  EXPECT_EQ(taken, (std::set<int>{1, 2, 5, 6, 8, 9}));
}

TEST_F(HostCoresTest, RefusesMorePinnedThreadsThanCpus) {
  const HostCores cores{{0, 1, 2, 3}, 2, 1};
  EXPECT_EQ(resolve_threads(cpu_device(2, true), cores).pinned_cpus, (std::vector<int>{2, 3}));
  try {
    (void)resolve_threads(cpu_device(3, true), cores);
    FAIL() << "6 threads on 4 CPUs";
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("device.pin_threads (true)"), std::string::npos) << text;
    EXPECT_NE(text.find("2 ranks of 3 threads may use 4 CPUs"), std::string::npos) << text;
  }
}

// Ranks that are threads of one process may all use what it may.
TEST_F(HostCoresTest, CountsTheRanksWithTheSameCpus) {
  constexpr int kRanks = 3;
  std::vector<HostCores> found(kRanks);
  on_ranks(kRanks, [&](transport::Transport& transport) {
    found[static_cast<std::size_t>(transport.rank())] = find_host_cores(transport);
  });
  for (int rank = 0; rank < kRanks; ++rank) {
    const HostCores& cores = found[static_cast<std::size_t>(rank)];
    EXPECT_EQ(cores.cpus, usable_cpus());
    EXPECT_EQ(cores.num_sharers, kRanks);
    EXPECT_EQ(cores.position, rank);
  }
}

// As after mpirun --bind-to core.
TEST_F(HostCoresTest, LeavesRanksWithOtherCpusOut) {
  if (usable_cpus().size() < 2) GTEST_SKIP() << "one CPU cannot be told from another";
  std::vector<HostCores> found(3);
  on_ranks(3, [&](transport::Transport& transport) {
    const bool alone = transport.rank() == 1;
    const PinnedThread pinned(alone ? usable_cpus().front() : usable_cpus().back());
    found[static_cast<std::size_t>(transport.rank())] = find_host_cores(transport);
  });
  EXPECT_EQ(found[0].num_sharers, 2);
  EXPECT_EQ(found[1].num_sharers, 1);
  EXPECT_EQ(found[1].position, 0);
  EXPECT_EQ(found[2].position, 1);
}

}  // namespace
}  // namespace halfpipe::runtime
