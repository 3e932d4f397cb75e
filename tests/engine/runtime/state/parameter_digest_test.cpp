// SPDX-License-Identifier: Apache-2.0
// The digest of a parameter does not depend on how ranks cut it.
#include "engine/runtime/state/parameter_digest.h"

#include <gtest/gtest.h>

#include "engine/checkpoint/parameter_hash.h"
#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/engine/runtime/held_slices.h"

namespace halfpipe::runtime {
namespace {

/// By each rank of a group that holds these slices; windows of so many elements.
std::vector<std::string> digests_of(const model::ParameterSpec& spec,
                                    const std::vector<TensorSlice>& slices,
                                    std::size_t window_elements) {
  std::vector<std::string> digests(slices.size());
  on_ranks(static_cast<int>(slices.size()), [&](int rank, transport::Transport& transport) {
    const auto index = static_cast<std::size_t>(rank);
    const auto backend = cpu::make_cpu_backend(1);
    const auto stream = backend->make_stream("compute");
    std::vector<float> values = held_values(spec.name, slices[index]);
    model::Parameter parameter{.spec = spec, .slice = slices[index], .value = values.data()};
    HostWindow window(*backend, *stream, window_elements * sizeof(float));
    digests[index] = parameter_digest(parameter, window, slices.size() > 1 ? &transport : nullptr);
  });
  return digests;
}

TEST(ParameterDigest, IsThatOfTheWholeHoweverItIsCut) {
  model::TransformerConfig config;
  config.num_layers = 1;
  config.hidden_size = 12;
  config.vocab_size = 29;
  config.seq_len = 5;
  for (const model::ParameterSpec& spec : model::all_parameters(config)) {
    const std::string expected =
        checkpoint::parameter_digest(whole_values(spec.name, spec.shape.num_elements()));
    for (const int num_ranks : {1, 2, 3}) {
      std::vector<TensorSlice> slices;
      for (int rank = 0; rank < num_ranks; ++rank) {
        slices.push_back(num_ranks == 1 ? TensorSlice::whole(spec.shape.num_elements())
                                        : uneven_slice(spec, rank, num_ranks));
      }
      for (const std::size_t window : {7U, 100U, 5000U}) {
        EXPECT_EQ(digests_of(spec, slices, window), std::vector(slices.size(), expected))
            << spec.name << " on " << num_ranks << " ranks, windows of " << window;
      }
    }
  }
}

TEST(ParameterDigest, IsNotThatOfSlicesWhichLeaveAGap) {
  const model::ParameterSpec spec{"a", {4, 6}, model::Initialisation::kZero};
  on_ranks(2, [&](int rank, transport::Transport& transport) {
    const auto backend = cpu::make_cpu_backend(1);
    const auto stream = backend->make_stream("compute");
    const std::int64_t begin = rank == 0 ? 0 : 3;
    const TensorSlice slice{4, 6, 1, begin, begin + 2};
    std::vector<float> values = held_values(spec.name, slice);
    model::Parameter parameter{.spec = spec, .slice = slice, .value = values.data()};
    HostWindow window(*backend, *stream);
    EXPECT_THROW((void)parameter_digest(parameter, window, &transport), InternalError);
  });
}

TEST(ParameterDigest, OfOneRankNeedsTheWhole) {
  const auto backend = cpu::make_cpu_backend(1);
  const auto stream = backend->make_stream("compute");
  const model::ParameterSpec spec{"a", {4, 6}, model::Initialisation::kZero};
  HostWindow window(*backend, *stream);
  const model::Parameter parameter{.spec = spec, .slice = {4, 6, 1, 0, 3}};
  EXPECT_THROW((void)parameter_digest(parameter, window, nullptr), InternalError);
}

}  // namespace
}  // namespace halfpipe::runtime
