// SPDX-License-Identifier: Apache-2.0
#include "engine/model/saved_tensors.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"

namespace halfpipe::model {
namespace {

TEST(SavedLayout, PlacesTensorsOfOneLifetimeSideBySide) {
  SavedLayout layout;
  const int a = layout.declare(Lifetime::kForwardToBackwardInput, 3, DType::kFloat32);
  const int b = layout.declare(Lifetime::kForwardToBackwardWeight, 16, DType::kFloat32);
  const int c = layout.declare(Lifetime::kForwardToBackwardInput, 17, DType::kFloat32);
  EXPECT_EQ(layout.entry(a).offset, 0U);
  EXPECT_EQ(layout.entry(b).offset, 0U);
  EXPECT_EQ(layout.entry(c).offset, 64U);
  EXPECT_EQ(layout.bytes(Lifetime::kForwardToBackwardInput), 64U + 128U);
  EXPECT_EQ(layout.bytes(Lifetime::kForwardToBackwardWeight), 64U);
  EXPECT_EQ(layout.bytes(Lifetime::kBackwardInputToBackwardWeight), 0U);
}

TEST(SavedLayout, CountsTheBytesOfAnElement) {
  SavedLayout layout;
  layout.declare(Lifetime::kForwardToBackwardInput, 64, DType::kBFloat16);
  layout.declare(Lifetime::kForwardToBackwardWeight, 64, DType::kFloat32);
  EXPECT_EQ(layout.bytes(Lifetime::kForwardToBackwardInput), 128U);
  EXPECT_EQ(layout.bytes(Lifetime::kForwardToBackwardWeight), 256U);
}

TEST(LiveBytes, CountsAgainWhatWorkDid) {
  LiveBytes live;
  live.add(100);
  live.add(50);
  live.subtract(50);  // the peak is 150
  const LiveBytes::Change change = live.change_by([&] {
    live.add(30);
    live.subtract(10);
  });
  EXPECT_EQ(change.rise, 30U);
  EXPECT_EQ(change.net, 20);
  EXPECT_EQ(live.current(), 120U);
  EXPECT_EQ(live.peak(), 150U);
  live.apply(change);
  EXPECT_EQ(live.current(), 140U);
  EXPECT_EQ(live.peak(), 150U);
  live.apply(change);
  EXPECT_EQ(live.current(), 160U);
  EXPECT_EQ(live.peak(), 170U);

  const LiveBytes::Change release = live.change_by([&] { live.subtract(100); });
  EXPECT_EQ(release.rise, 0U);
  EXPECT_EQ(release.net, -100);
  EXPECT_THROW(live.apply(release), InternalError);  // 60 are left
}

TEST(LiveBytes, RemembersItsPeak) {
  LiveBytes live;
  live.add(100);
  live.add(50);
  live.subtract(100);
  live.add(20);
  EXPECT_EQ(live.current(), 70U);
  EXPECT_EQ(live.peak(), 150U);
  live.reset_peak();
  EXPECT_EQ(live.peak(), 70U);
  EXPECT_THROW(live.subtract(71), InternalError);
}

TEST(SavedTensors, CountWhatIsAlive) {
  SavedLayout layout;
  const int id = layout.declare(Lifetime::kForwardToBackwardWeight, 4, DType::kFloat32);
  alignas(64) std::byte memory[64];
  LiveBytes live;
  SavedTensors saved(layout, {nullptr, memory, nullptr}, live);
  EXPECT_EQ(static_cast<void*>(saved.save(id)), static_cast<void*>(memory));
  EXPECT_EQ(live.current(), 64U);
  saved.release(id);
  EXPECT_EQ(live.current(), 0U);
  EXPECT_THROW(saved.release(id), InternalError);
}

}  // namespace
}  // namespace halfpipe::model
