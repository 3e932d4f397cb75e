// SPDX-License-Identifier: Apache-2.0
// How the ranks of a machine share its CPUs.
#include "engine/runtime/ranks/host_cores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/runtime/ranks/agreement.h"
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

config::DeviceConfig cpu_device(int threads, bool pinned = false) {
  config::DeviceConfig device;
  device.threads_per_rank = threads;
  device.pin_threads = pinned;
  return device;
}

HostCores cores_of(std::vector<int> cpus, std::size_t num_sharers) {
  return {.cpus = std::move(cpus), .sharers = std::vector<int>(num_sharers)};
}

void expect_refused(const HostCores& cores,
                    const std::vector<int>& counts,
                    const std::string& part) {
  try {
    (void)cpus_for_threads(cores, counts, 0);
    FAIL() << "not refused: " << part;
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("device.pin_threads (true)"), std::string::npos) << text;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

class HostCoresTest : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("OMP_NUM_THREADS"); }
};

TEST_F(HostCoresTest, DividesCpusAmongThoseWhoShareThem) {
  const std::vector<int> seven{0, 1, 2, 3, 4, 5, 6};
  EXPECT_EQ(num_threads(cpu_device(0), cores_of(seven, 1)), 7);
  EXPECT_EQ(num_threads(cpu_device(0), cores_of(seven, 3)), 2);
  EXPECT_EQ(num_threads(cpu_device(0), cores_of(seven, 8)), 1);
  EXPECT_EQ(num_threads(cpu_device(5), cores_of(seven, 3)), 5);
}

TEST_F(HostCoresTest, GivesEveryThreadACpuOfItsOwn) {
  const HostCores cores = cores_of({1, 2, 5, 6, 8, 9, 12}, 3);
  const std::vector<int> counts{2, 1, 4};
  EXPECT_EQ(cpus_for_threads(cores, counts, 0), (std::vector<int>{1, 2}));
  EXPECT_EQ(cpus_for_threads(cores, counts, 1), (std::vector<int>{5}));
  EXPECT_EQ(cpus_for_threads(cores, counts, 2), (std::vector<int>{6, 8, 9, 12}));
}

TEST_F(HostCoresTest, RefusesToPinWhereItCannot) {
  expect_refused(cores_of({0, 1, 2, 3}, 2), {2, 3}, "2 ranks with 5 threads may use 4 CPUs: 0, 1");
  expect_refused(cores_of({7}, 1), {2}, "a rank with 2 threads may use 1 CPU: 7");
  HostCores cores = cores_of({0, 1}, 1);
  cores.overlaps = true;
  expect_refused(cores, {1}, "partly the same");
  cores.cpus_are_known = false;
  expect_refused(cores, {1}, "does not say");
}

TEST_F(HostCoresTest, RefusesOnEveryRank) {
  constexpr int kRanks = 2;
  std::atomic<int> num_refused = 0;
  on_ranks(kRanks, [&](transport::Transport& transport) {
    EXPECT_THROW((void)agree_on_threads(cpu_device(1000, /*pinned=*/true), transport), AgreedError);
    ++num_refused;
  });
  EXPECT_EQ(num_refused, kRanks);
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
    EXPECT_EQ(cores.cpus, cpus_by_core(usable_cpus()));
    EXPECT_EQ(cores.sharers, (std::vector<int>{0, 1, 2}));
    EXPECT_FALSE(cores.overlaps);
  }
}

// As after mpirun --bind-to core.
TEST_F(HostCoresTest, LeavesRanksWithOtherCpusOut) {
  if (usable_cpus().size() < 2) GTEST_SKIP() << "one CPU cannot be told from another";
  std::vector<HostCores> found(3);
  on_ranks(3, [&](transport::Transport& transport) {
    const PinnedThread pinned(transport.rank() == 1 ? usable_cpus().front() : usable_cpus().back());
    found[static_cast<std::size_t>(transport.rank())] = find_host_cores(transport);
  });
  EXPECT_EQ(found[0].sharers, (std::vector<int>{0, 2}));
  EXPECT_EQ(found[1].sharers, (std::vector<int>{1}));
  EXPECT_EQ(found[2].sharers, (std::vector<int>{0, 2}));
  EXPECT_FALSE(found[1].overlaps);
}

TEST_F(HostCoresTest, SeesCpusThatArePartlyTheSame) {
  if (usable_cpus().size() < 2) GTEST_SKIP() << "one CPU cannot be told from another";
  std::vector<HostCores> found(2);
  on_ranks(2, [&](transport::Transport& transport) {
    std::optional<PinnedThread> pinned;
    if (transport.rank() == 1) pinned.emplace(usable_cpus().front());
    found[static_cast<std::size_t>(transport.rank())] = find_host_cores(transport);
  });
  EXPECT_TRUE(found[0].overlaps);
  EXPECT_TRUE(found[1].overlaps);
}

TEST(CpusByCore, AreTheSameCpus) {
  std::vector<int> cpus = usable_cpus();
  std::vector<int> ordered = cpus_by_core(cpus);
  EXPECT_EQ(ordered.front(), cpus.front());
  std::ranges::sort(ordered);
  EXPECT_EQ(ordered, cpus);
}

}  // namespace
}  // namespace halfpipe::runtime
