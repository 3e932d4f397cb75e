// SPDX-License-Identifier: Apache-2.0
// Replicas add their gradients in their own order, bucket after bucket, whoever adds them.
#include "engine/runtime/gradient_reduction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::runtime {
namespace {

using testing::random_values;

/// Three parameters, the second with a gradient of its use in the head.
model::ParameterSet make_parameters(device::Backend& backend) {
  model::TransformerConfig config;
  config.num_layers = 1;
  config.num_heads = 1;
  config.hidden_size = 8;
  config.seq_len = 4;
  config.vocab_size = 37;
  model::ParameterSet parameters;
  const std::vector<model::ParameterSpec> specs = model::all_parameters(config);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    static_cast<void>(parameters.add(specs, specs[i].name));
  }
  parameters.find(model::kTokenEmbeddingName)->has_head_gradient = true;
  parameters.allocate(backend, DType::kFloat32);
  return parameters;
}

/// What each replica holds in its gradient buffer after the exchange of random ones.
std::vector<std::vector<float>> exchange(int num_replicas, std::size_t bucket_floats) {
  std::vector<std::vector<float>> results(static_cast<std::size_t>(num_replicas));
  transport::LocalGroup group(num_replicas);
  const auto run = [&](int replica) {
    const auto transport = group.make_transport(replica);
    transport->set_timeout(20.0);
    const auto backend = cpu::make_cpu_backend(1);
    const auto stream = backend->make_stream("compute");
    model::ParameterSet parameters = make_parameters(*backend);
    const std::size_t count = parameters.gradients().bytes() / sizeof(float);
    auto* gradients = parameters.gradients().as<float>();
    const std::vector<float> mine =
        random_values("replica " + std::to_string(replica), static_cast<std::int64_t>(count));
    std::ranges::copy(mine, gradients);
    GradientReduction reduction(parameters, *backend, *transport, bucket_floats);
    EXPECT_EQ(reduction.bytes(),
              GradientReduction::bytes_for(parameters.all(), num_replicas, bucket_floats));
    reduction.run(*stream, 0);
    results[static_cast<std::size_t>(replica)].assign(gradients, gradients + count);
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
  return results;
}

TEST(GradientReduction, AddsInTheOrderOfTheReplicas) {
  for (const int num_replicas : {2, 3, 5}) {
    for (const std::size_t bucket_floats : {std::size_t{16}, std::size_t{48}, kBucketFloats}) {
      const auto results = exchange(num_replicas, bucket_floats);
      const auto backend = cpu::make_cpu_backend(1);
      const model::ParameterSet parameters = make_parameters(*backend);
      const std::size_t count = results[0].size();
      std::vector<bool> is_summed(count, false);
      for (const GradientRange& bucket : gradient_buckets(parameters.all(), bucket_floats)) {
        for (std::size_t i = bucket.begin; i < bucket.end; ++i) is_summed[i] = true;
      }
      std::vector<std::vector<float>> given;
      for (int replica = 0; replica < num_replicas; ++replica) {
        given.push_back(
            random_values("replica " + std::to_string(replica), static_cast<std::int64_t>(count)));
      }
      std::size_t num_wrong = 0;
      std::size_t num_left = 0;
      for (std::size_t i = 0; i < count; ++i) {
        float sum = given[0][i];
        for (int replica = 1; replica < num_replicas; ++replica) {
          sum += given[static_cast<std::size_t>(replica)][i];
        }
        if (!is_summed[i]) ++num_left;
        for (std::size_t replica = 0; replica < results.size(); ++replica) {
          if (results[replica][i] != (is_summed[i] ? sum : given[replica][i])) ++num_wrong;
        }
      }
      EXPECT_EQ(num_wrong, 0U) << num_replicas << " replicas, buckets of " << bucket_floats;
      EXPECT_EQ(num_left, 304U);  // 37 x 8, padded: the table's second gradient
    }
  }
}

}  // namespace
}  // namespace halfpipe::runtime
