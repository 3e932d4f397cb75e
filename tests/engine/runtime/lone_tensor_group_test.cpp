// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/lone_tensor_group.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

#include "kernels/cpu/cpu_backend.h"

namespace halfpipe::runtime {
namespace {

class LoneTensorGroupTest : public ::testing::Test {
 protected:
  static std::byte* bytes(std::string& text) { return reinterpret_cast<std::byte*>(text.data()); }

  std::unique_ptr<device::Backend> backend_ = cpu::make_cpu_backend(1);
  std::unique_ptr<device::Stream> stream_ = backend_->make_stream("test");
  LoneTensorGroup group_{{.ranks = 3, .rank = 1}, *backend_};
};

TEST_F(LoneTensorGroupTest, GathersItsOwnPartForAll) {
  std::string whole = "aabbcc";
  std::string part = "xy";
  group_.all_gather(bytes(whole), bytes(part), part.size(), *stream_);
  EXPECT_EQ(whole, "xyxyxy");
  std::string in_place = "aabbcc";
  group_.all_gather(bytes(in_place), bytes(in_place) + 2, 2, *stream_);
  EXPECT_EQ(in_place, "bbbbbb");
}

TEST_F(LoneTensorGroupTest, ReceivesFromAllWhatItHasForItself) {
  std::string received = "aabbcc";
  std::string sent = "uvwxyz";
  group_.exchange(bytes(received), bytes(sent), 2, *stream_);
  EXPECT_EQ(received, "wxbbwx");
}

}  // namespace
}  // namespace halfpipe::runtime
