// SPDX-License-Identifier: Apache-2.0
// tests/tools/emulated_memory_test.cpp asks emulated devices.
#include "engine/runtime/planning/device_memory.h"

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

using Bytes = std::vector<std::int64_t>;

TEST(DeviceMemory, IsThatOfEachRanksOwnDevice) {
  const parallel::Mesh mesh{{.data = 1, .pipeline = 3, .tensor = 1}};
  EXPECT_EQ(least_shares({{"one", 30}, {"two", 10}, {"three", 20}}, mesh), (Bytes{30, 10, 20}));
}

// Each looks by itself, and another program may come and go meanwhile.
TEST(DeviceMemory, IsSharedByTheRanksOfADevice) {
  const parallel::Mesh mesh{{.data = 1, .pipeline = 4, .tensor = 1}};
  EXPECT_EQ(least_shares({{"one", 90}, {"one", 60}, {"two", 50}, {"one", 75}}, mesh),
            (Bytes{20, 20, 50, 20}));
}

// All of them have its stages.
TEST(DeviceMemory, IsTheLeastOfAPipelineRanksReplicasAndTensorRanks) {
  const parallel::Mesh mesh{{.data = 2, .pipeline = 2, .tensor = 2}};
  EXPECT_EQ(least_shares({{"a", 50},
                          {"b", 40},
                          {"c", 70},
                          {"d", 60},  // first replica
                          {"e", 45},
                          {"f", 55},
                          {"g", 30},
                          {"h", 65}},
                         mesh),
            (Bytes{40, 30}));
}

TEST(DeviceMemory, IsNotAskedForWhereTheHostHasIt) {
  const auto backend = cpu::make_cpu_backend(1);
  transport::LocalGroup group(1);
  config::RunConfig config = small_config("auto", 1);
  ask_devices_for_memory(config, *backend, *group.make_transport(0));
  EXPECT_TRUE(config.device.free_bytes.empty());
}

}  // namespace
}  // namespace halfpipe::runtime
