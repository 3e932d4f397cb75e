// SPDX-License-Identifier: Apache-2.0
// Runs a CPU kernel with one, two and three threads (three do not divide the work evenly).
#pragma once

#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "tests/kernels/compare.h"

namespace halfpipe::testing {

/// What run(pool) returns (a list of result tensors), after checking that it has the same bits for
/// every number of threads.
template <typename Run>
auto run_with_any_threads(const Run& run) {
  cpu::ThreadPool one(1);
  auto expected = run(one);
  for (const int num_threads : {2, 3}) {
    cpu::ThreadPool pool(num_threads);
    const auto actual = run(pool);
    EXPECT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(same_bits(actual[i], expected[i]))
          << "result " << i << " with " << num_threads << " threads";
    }
  }
  return expected;
}

}  // namespace halfpipe::testing
