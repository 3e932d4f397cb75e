// SPDX-License-Identifier: Apache-2.0
// Squares of parts, wherever they are computed, add up to the bits of the whole.
#include "engine/runtime/step/gradient_squares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <thread>
#include <vector>

#include "engine/runtime/step/gradient_buckets.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/runtime/step/one_block_parameters.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::runtime {
namespace {

using testing::random_values;

/// Matrices of up to eight units; the last parameter belongs to another rank.
model::ParameterSet make_parameters(device::Backend& backend) {
  model::ParameterSet parameters = one_block_parameters(200, 300);
  parameters.all().back().owned = false;
  parameters.allocate(backend, DType::kFloat32);
  for (model::Parameter& parameter : parameters.all()) {
    std::ranges::copy(random_values(parameter.spec.name, parameter.count()), parameter.gradient);
  }
  return parameters;
}

/// What the first replica reads; -1 where it writes nothing.
std::vector<double> squares(const model::ParameterSet& parameters,
                            const std::vector<std::vector<optimizer::ElementRanges>>& held,
                            device::Backend& backend,
                            transport::Transport* replicas_or_null) {
  const auto stream = backend.make_stream("compute");
  device::Buffer memory(backend, GradientSquares::bytes_for(parameters.all(), backend));
  device::Arena workspace(memory.bytes_pointer(), memory.bytes());
  GradientSquares squares(parameters, held, backend, replicas_or_null);
  squares.start(workspace, *stream);
  stream->synchronize();
  std::vector<double> sums(parameters.all().size(), -1.0);
  if (replicas_or_null == nullptr || replicas_or_null->rank() == 0) squares.read(sums);
  return sums;
}

TEST(GradientSquares, AreOfOwnedParameters) {
  const auto backend = cpu::make_cpu_backend(1);
  const model::ParameterSet parameters = make_parameters(*backend);
  const std::vector<double> sums =
      squares(parameters, {optimizer::all_elements(parameters.all())}, *backend, nullptr);
  for (const model::Parameter& parameter : parameters.all()) {
    double expected = 0.0;
    for (std::int64_t i = 0; i < parameter.count(); ++i) {
      expected += static_cast<double>(parameter.gradient[i]) * parameter.gradient[i];
    }
    if (!parameter.owned) expected = -1.0;
    // The same additions in another order; each rounds at 1e-16.
    EXPECT_NEAR(sums[static_cast<std::size_t>(parameter.global_index)], expected,
                1e-13 * std::abs(expected));
  }
}

TEST(GradientSquares, OfPartsHaveTheBitsOfTheWhole) {
  for (const int num_replicas : {2, 3, 5}) {
    transport::LocalGroup group(num_replicas);
    std::vector<double> of_parts;
    std::vector<double> of_whole;
    const auto run = [&](int replica) {
      const auto transport = group.make_transport(replica);
      transport->set_timeout(20.0);
      const auto backend = cpu::make_cpu_backend(1);
      const model::ParameterSet parameters = make_parameters(*backend);
      const std::vector<int> groups(parameters.all().size(), 0);
      const auto buckets =
          gradient_buckets(parameters.all(), groups, num_replicas, {.bucket_floats = 100'000});
      std::vector<std::vector<optimizer::ElementRanges>> held;
      for (int other = 0; other < num_replicas; ++other) {
        held.push_back(elements_of_replica(parameters.all(), buckets, other));
      }
      // Nobody else's gradients are known.
      for (std::size_t i = 0; i < parameters.all().size(); ++i) {
        const model::Parameter& parameter = parameters.all()[i];
        const std::vector<float> given(parameter.gradient, parameter.gradient + parameter.count());
        std::fill_n(parameter.gradient, parameter.count(), 1e9F);
        for (const optimizer::ElementRange& range : held[static_cast<std::size_t>(replica)][i]) {
          std::copy(given.begin() + range.begin, given.begin() + range.end,
                    parameter.gradient + range.begin);
        }
      }
      const std::vector<double> sums = squares(parameters, held, *backend, transport.get());
      if (replica != 0) return;
      of_parts = sums;
      const model::ParameterSet whole = make_parameters(*backend);
      of_whole = squares(whole, {optimizer::all_elements(whole.all())}, *backend, nullptr);
    };
    {
      std::vector<std::jthread> ranks;
      for (int replica = 0; replica < num_replicas; ++replica) {
        ranks.emplace_back([&, replica] {
          try {
            run(replica);
          } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
            group.abort(1, "a replica failed");
          }
        });
      }
    }
    EXPECT_EQ(of_parts, of_whole) << num_replicas;
  }
}

}  // namespace
}  // namespace halfpipe::runtime
