// SPDX-License-Identifier: Apache-2.0
// Replicas add their gradients in their own order, bucket after bucket, whoever adds them and
// whenever.
#include "engine/runtime/step/gradient_exchange.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "engine/runtime/step/parameter_gather.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/runtime/step/one_block_parameters.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::runtime {
namespace {

using testing::random_values;

constexpr std::size_t kTableFloats = 304;  // 37 x 8, padded

/// The second gradient of the first one's use in the head belongs to no bucket.
model::ParameterSet make_parameters(device::Backend& backend) {
  model::ParameterSet parameters = one_block_parameters(8, 37);
  parameters.find(model::kTokenEmbeddingName)->has_head_gradient = true;
  parameters.allocate(backend, DType::kFloat32);
  return parameters;
}

/// The table apart, as if it were tied; then some parameters, and the others.
std::vector<int> groups_of(const model::ParameterSet& parameters) {
  std::vector<int> groups(parameters.all().size(), 0);
  groups[0] = 2;
  std::fill_n(groups.begin() + 1, 4, 1);
  return groups;
}

const std::vector<int> kOrder = {1, 0, 2};

std::vector<GradientBucket> make_buckets(const model::ParameterSet& parameters,
                                         int num_replicas,
                                         std::size_t bucket_floats) {
  return gradient_buckets(parameters.all(), groups_of(parameters), num_replicas,
                          {.bucket_floats = bucket_floats, .unit = 16});
}

struct Replica {
  int index;
  transport::Transport& transport;
  device::Backend& backend;
  device::Stream& stream;
  model::ParameterSet& parameters;
  const std::vector<GradientBucket>& buckets;
};

/// Runs `work` on threads as replicas.
void on_replicas(int num_replicas,
                 std::size_t bucket_floats,
                 const std::function<void(const Replica&)>& work) {
  transport::LocalGroup group(num_replicas);
  std::vector<std::jthread> ranks;
  for (int replica = 0; replica < num_replicas; ++replica) {
    ranks.emplace_back([&, replica] {
      try {
        const auto transport = group.make_transport(replica);
        transport->set_timeout(20.0);
        const auto backend = cpu::make_cpu_backend(1);
        const auto stream = backend->make_stream("compute");
        model::ParameterSet parameters = make_parameters(*backend);
        const auto buckets = make_buckets(parameters, num_replicas, bucket_floats);
        work({replica, *transport, *backend, *stream, parameters, buckets});
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
        group.abort(1, "a replica failed");
      }
    });
  }
}

std::vector<float> gradients_of(int replica, std::size_t count) {
  return random_values("replica " + std::to_string(replica), static_cast<std::int64_t>(count));
}

std::size_t fill_gradients(const Replica& replica) {
  const std::size_t count = replica.parameters.gradients().bytes() / sizeof(float);
  std::ranges::copy(gradients_of(replica.index, count), replica.parameters.gradients().as<float>());
  return count;
}

/// What each replica holds in its gradient buffer after `exchange` of random gradients.
std::vector<std::vector<float>> after(
    int num_replicas,
    std::size_t bucket_floats,
    HeldSums held,
    const std::function<void(GradientExchange&, const Replica&)>& exchange) {
  std::vector<std::vector<float>> results(static_cast<std::size_t>(num_replicas));
  on_replicas(num_replicas, bucket_floats, [&](const Replica& replica) {
    const std::size_t count = fill_gradients(replica);
    GradientExchange exchanged(replica.parameters, replica.buckets, kOrder, held, replica.backend,
                               replica.transport);
    EXPECT_EQ(exchanged.bytes(), GradientExchange::bytes_for(replica.buckets, num_replicas));
    exchanged.begin(0);
    exchange(exchanged, replica);
    const auto* gradients = replica.parameters.gradients().as<float>();
    results[static_cast<std::size_t>(replica.index)].assign(gradients, gradients + count);
  });
  return results;
}

void release_all_and_finish(GradientExchange& exchange, const Replica& replica) {
  for (const int group : kOrder) exchange.release(group, replica.stream);
  exchange.finish_released(replica.stream);
}

/// Every element that has to be the sum is, added in the order of the replicas.
void expect_sums(const std::vector<std::vector<float>>& results,
                 std::size_t bucket_floats,
                 HeldSums held) {
  const auto backend = cpu::make_cpu_backend(1);
  const model::ParameterSet parameters = make_parameters(*backend);
  const int num_replicas = static_cast<int>(results.size());
  const std::size_t count = results[0].size();
  std::vector<float> sums(count, 0.0F);
  for (int replica = 0; replica < num_replicas; ++replica) {
    const std::vector<float> given = gradients_of(replica, count);
    for (std::size_t i = 0; i < count; ++i) sums[i] = replica == 0 ? given[i] : sums[i] + given[i];
  }
  std::size_t num_checked = 0;
  std::size_t num_wrong = 0;
  for (const GradientBucket& bucket : make_buckets(parameters, num_replicas, bucket_floats)) {
    for (int replica = 0; replica < num_replicas; ++replica) {
      const GradientRange range = held == HeldSums::kAll ? bucket.whole() : bucket.part(replica);
      for (std::size_t i = range.begin; i < range.end; ++i) {
        ++num_checked;
        if (results[static_cast<std::size_t>(replica)][i] != sums[i]) ++num_wrong;
      }
    }
  }
  EXPECT_EQ(num_wrong, 0U) << num_replicas << " replicas, buckets of " << bucket_floats;
  const std::size_t times = held == HeldSums::kAll ? results.size() : 1;
  EXPECT_EQ(num_checked, times * (count - kTableFloats));
}

TEST(GradientExchange, AddsInTheOrderOfTheReplicas) {
  for (const HeldSums held : {HeldSums::kAll, HeldSums::kOwnParts}) {
    for (const int num_replicas : {2, 3, 5}) {
      for (const std::size_t bucket_floats : {std::size_t{16}, std::size_t{48}, kBucketFloats}) {
        const auto results = after(num_replicas, bucket_floats, held, release_all_and_finish);
        expect_sums(results, bucket_floats, held);
      }
    }
  }
}

TEST(GradientExchange, LeavesTheSecondGradientOfATiedTableAlone) {
  const auto results = after(2, 48, HeldSums::kAll, release_all_and_finish);
  const std::vector<float> given = gradients_of(1, results[1].size());
  EXPECT_TRUE(std::equal(given.begin() + kTableFloats, given.begin() + 2 * kTableFloats,
                         results[1].begin() + kTableFloats));
}

// A replica that looks often gets further between the same two releases than one that never does:
// the order of their messages is the same.
TEST(GradientExchange, HasTheSameMessagesWheneverAReplicaLooks) {
  for (const HeldSums held : {HeldSums::kAll, HeldSums::kOwnParts}) {
    const auto results = after(3, 32, held, [](GradientExchange& exchange, const Replica& replica) {
      for (const int group : kOrder) {
        exchange.release(group, replica.stream);
        for (int look = 0; look < 1000 * replica.index; ++look) exchange.advance();
      }
      exchange.finish_released(replica.stream);
    });
    expect_sums(results, 32, held);
  }
}

TEST(GradientExchange, GoesOnWithoutWaiting) {
  std::atomic<int> num_advanced = 0;
  const auto results = after(2, kBucketFloats, HeldSums::kAll,
                             [&](GradientExchange& exchange, const Replica& replica) {
                               if (replica.index == 0) {
                                 // The other one does not answer before this one has come back from
                                 // all its looks.
                                 exchange.release(kOrder[0], replica.stream);
                                 for (int look = 0; look < 100; ++look) exchange.advance();
                                 ++num_advanced;
                               } else {
                                 while (num_advanced == 0) std::this_thread::yield();
                                 exchange.release(kOrder[0], replica.stream);
                               }
                               for (const int group : {kOrder[1], kOrder[2]})
                                 exchange.release(group, replica.stream);
                               exchange.finish_released(replica.stream);
                             });
  expect_sums(results, kBucketFloats, HeldSums::kAll);
}

TEST(GradientExchange, EndsByLooksAlone) {
  const auto results =
      after(2, 48, HeldSums::kAll, [](GradientExchange& exchange, const Replica& replica) {
        for (const int group : kOrder) exchange.release(group, replica.stream);
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!exchange.is_done() && std::chrono::steady_clock::now() < deadline) {
          exchange.advance();
          std::this_thread::yield();
        }
        EXPECT_TRUE(exchange.is_done());
        exchange.finish_released(replica.stream);
      });
  expect_sums(results, 48, HeldSums::kAll);
}

TEST(GradientExchange, MovesWhatIsReleasedAloneBeforeTheRest) {
  const auto results =
      after(2, 48, HeldSums::kAll, [](GradientExchange& exchange, const Replica& replica) {
        exchange.release(kOrder[0], replica.stream);
        exchange.finish_released(replica.stream);
        const auto* const gradients = replica.parameters.gradients().as<float>();
        const std::vector<float> given =
            gradients_of(replica.index, replica.parameters.gradients().bytes() / sizeof(float));
        for (const GradientBucket& bucket : replica.buckets) {
          const std::size_t first = bucket.whole().begin;
          EXPECT_EQ(gradients[first] != given[first], bucket.group == kOrder[0]) << first;
        }
        exchange.release(kOrder[1], replica.stream);
        exchange.release(kOrder[2], replica.stream);
        exchange.finish_released(replica.stream);
      });
  expect_sums(results, 48, HeldSums::kAll);
}

/// Sets this replica's parts to its number, all others to -1.
void set_own_parts(const Replica& replica) {
  auto* const values = replica.parameters.values().as<float>();
  std::fill_n(values, replica.parameters.values().bytes() / sizeof(float), -1.0F);
  for (const GradientBucket& bucket : replica.buckets) {
    const GradientRange mine = bucket.part(replica.index);
    for (std::size_t i = mine.begin; i < mine.end; ++i) {
      values[i - bucket.num_without_value] = static_cast<float>(replica.index);
    }
  }
}

/// Of a bucket, elements that do not have their owner's number.
std::size_t num_wrong(const Replica& replica, const GradientBucket& bucket) {
  const auto* const values = replica.parameters.values().as<float>();
  std::size_t count = 0;
  for (int owner = 0; owner < replica.transport.world_size(); ++owner) {
    const GradientRange part = bucket.part(owner);
    for (std::size_t i = part.begin; i < part.end; ++i) {
      if (values[i - bucket.num_without_value] != static_cast<float>(owner)) ++count;
    }
  }
  return count;
}

class ParameterGatherTest : public ::testing::TestWithParam<ParameterGather::UnderWay> {};

TEST_P(ParameterGatherTest, BringsEveryPartToEveryReplica) {
  for (const int num_replicas : {2, 3, 5}) {
    on_replicas(num_replicas, 48, [&](const Replica& replica) {
      ParameterGather gather(replica.parameters, groups_of(replica.parameters), replica.buckets,
                             kOrder, GetParam(), replica.backend, replica.transport);
      for (int step = 0; step < 2; ++step) {
        set_own_parts(replica);
        gather.start(replica.stream, step);
        gather.finish_all(replica.stream);
        for (const GradientBucket& bucket : replica.buckets) {
          EXPECT_EQ(num_wrong(replica, bucket), 0U);
        }
        const auto* const values = replica.parameters.values().as<float>();
        const std::size_t count = replica.parameters.values().bytes() / sizeof(float);
        EXPECT_EQ(std::count(values, values + count, -1.0F), 0);
        EXPECT_GE(gather.exposed_seconds(), 0.0);
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(UnderWay,
                         ParameterGatherTest,
                         ::testing::Values(ParameterGather::UnderWay::kAll,
                                           ParameterGather::UnderWay::kSome));

// One group whose others are slow: its waiting is for itself alone.
TEST(ParameterGather, FinishesTheGroupThatIsReadAndNotTheOthers) {
  on_replicas(2, 48, [&](const Replica& replica) {
    ParameterGather gather(replica.parameters, groups_of(replica.parameters), replica.buckets,
                           kOrder, ParameterGather::UnderWay::kAll, replica.backend,
                           replica.transport);
    set_own_parts(replica);
    gather.start(replica.stream, 0);
    for (const int group : kOrder) {
      gather.finish(group, replica.stream);
      for (const GradientBucket& bucket : replica.buckets) {
        if (bucket.group != group) continue;
        EXPECT_EQ(num_wrong(replica, bucket), 0U);
      }
    }
    gather.finish(kOrder[0], replica.stream);  // again: nothing to do
  });
}

}  // namespace
}  // namespace halfpipe::runtime
