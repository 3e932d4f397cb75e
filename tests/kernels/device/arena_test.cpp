// SPDX-License-Identifier: Apache-2.0
// The bump allocator: alignment, counting, giving back, refusal.
#include "kernels/device/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/core/error.h"

namespace halfpipe::device {
namespace {

class ArenaOfMemory : public ::testing::Test {
 protected:
  static constexpr std::size_t kCapacity = 1024;
  alignas(kTensorAlignment) std::byte memory[kCapacity];
  Arena arena{memory, kCapacity};
};

TEST_F(ArenaOfMemory, HandsOutAlignedPiecesSideBySide) {
  std::byte* first = arena.take_bytes(1);
  std::byte* second = arena.take_bytes(65);
  auto* third = arena.take<double>(3);
  EXPECT_EQ(first, memory);
  EXPECT_EQ(second, memory + 64);
  EXPECT_EQ(reinterpret_cast<std::byte*>(third), memory + 192);
  EXPECT_EQ(arena.used(), 256U);
  EXPECT_FALSE(arena.is_counting());
}

TEST_F(ArenaOfMemory, AllOfTheCapacityCanBeTaken) {
  EXPECT_EQ(arena.take_bytes(kCapacity), memory);
  EXPECT_EQ(arena.used(), kCapacity);
}

TEST_F(ArenaOfMemory, RefusesMoreThanItsCapacity) {
  (void)arena.take_bytes(kCapacity - 64);
  EXPECT_THROW((void)arena.take_bytes(65), InternalError);
  EXPECT_THROW((void)arena.take_bytes(SIZE_MAX - 1024), InternalError);
  EXPECT_NE(arena.take_bytes(64), nullptr);  // what fits still fits
}

TEST_F(ArenaOfMemory, AScopeGivesBackWhatItTook) {
  (void)arena.take_bytes(64);
  std::byte* inside = nullptr;
  {
    const ArenaScope scope(arena);
    inside = arena.take_bytes(128);
    {
      const ArenaScope inner(arena);
      (void)arena.take_bytes(256);
    }
    EXPECT_EQ(arena.used(), 192U);
  }
  EXPECT_EQ(arena.used(), 64U);
  EXPECT_EQ(arena.take_bytes(1), inside);
}

TEST_F(ArenaOfMemory, RemembersItsHighWater) {
  {
    const ArenaScope scope(arena);
    (void)arena.take_bytes(512);
  }
  (void)arena.take_bytes(64);
  EXPECT_EQ(arena.high_water(), 512U);
}

TEST(CountingArena, LearnsTheBytesThatARealOneNeeds) {
  auto pass = [](Arena& arena) {
    (void)arena.take<float>(100);
    {
      const ArenaScope scope(arena);
      (void)arena.take<float>(1000);
    }
    (void)arena.take<double>(33);
  };
  Arena counting = Arena::counting();
  EXPECT_TRUE(counting.is_counting());
  EXPECT_EQ(counting.take_bytes(0), nullptr);
  pass(counting);

  std::vector<std::byte> memory(counting.high_water());
  Arena real(memory.data(), memory.size());
  EXPECT_NO_THROW(pass(real));
  EXPECT_EQ(real.high_water(), memory.size());
  EXPECT_EQ(real.used(), counting.used());
}

}  // namespace
}  // namespace halfpipe::device
