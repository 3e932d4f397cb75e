// SPDX-License-Identifier: Apache-2.0
// The fixture of the tests of what every transport promises (parallel/transport/transport.h),
// whatever its ranks are. Its world sizes are in transport_contract_test.cpp.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {

using std::chrono::milliseconds;
using Bytes = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

/// Bytes that depend on sender, receiver, number and position: no message looks like another one.
inline Bytes message(int src, int dst, int number, std::size_t size) {
  Bytes bytes(size);
  auto value = static_cast<std::uint32_t>(src * 7919 + dst * 104729 + number * 1299709 + 1);
  for (std::byte& each : bytes) {
    value = value * 1664525U + 1013904223U;
    each = static_cast<std::byte>(value >> 24U);
  }
  return bytes;
}

inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

class TransportContract : public ::testing::TestWithParam<int> {
 protected:
  static void on_every_rank(const Body& body) { transport::on_every_rank(GetParam(), body); }
  /// The ranks of a test about two of them; false when there is but one rank.
  static bool has_pair() { return GetParam() >= 2; }
};

}  // namespace halfpipe::transport
