// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/runtime/held_slices.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <exception>
#include <thread>

#include "parallel/transport/local_group.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::runtime {

namespace {

/// Of indices 0 .. extent - 1, those of a rank: each takes twice as many as the one before it, the
/// last ones of an extent that is too small nothing but padding.
TensorSlice cut(
    std::int64_t outer, std::int64_t extent, std::int64_t inner, int rank, int num_ranks) {
  const std::int64_t unit = extent / ((1 << num_ranks) - 1) + 1;
  const std::int64_t begin = unit * ((1 << rank) - 1);
  const std::int64_t end = unit * ((2 << rank) - 1);
  return {outer, extent, inner, std::min(begin, extent), std::max(end, std::min(begin, extent))};
}

}  // namespace

std::vector<float> whole_values(const std::string& name, std::int64_t count) {
  return testing::random_values(name, count);
}

std::vector<float> held_values(const std::string& name, const TensorSlice& slice) {
  const std::vector<float> whole = whole_values(name, slice.whole_count());
  std::vector<float> held(static_cast<std::size_t>(slice.count()), 1e9F);
  for_each_run(slice, [&](const SliceRun& run) {
    std::copy_n(whole.begin() + run.in_whole, run.count, held.begin() + run.in_slice);
  });
  return held;
}

TensorSlice uneven_slice(const model::ParameterSpec& spec, int rank, int num_ranks) {
  const std::int64_t rows = spec.shape[0];
  const std::int64_t columns = spec.shape.rank() == 2 ? spec.shape[1] : 1;
  const auto is = [&](const char* part) { return spec.name.find(part) != std::string::npos; };
  if (is("c_attn.weight")) return cut(3 * rows, columns / 3, 1, rank, num_ranks);
  if (is("c_fc.weight")) return cut(rows, columns, 1, rank, num_ranks);
  if (is("c_attn.bias")) return cut(3, rows / 3, 1, rank, num_ranks);
  const bool has_rows = is("c_proj.weight") || is("c_fc.bias") || is("wte") || is("lm_head");
  if (has_rows) return cut(1, rows, columns, rank, num_ranks);
  return TensorSlice::whole(rows * columns);
}

void on_ranks(int num_ranks, const std::function<void(int, transport::Transport&)>& body) {
  transport::LocalGroup group(num_ranks);
  std::vector<std::jthread> ranks;
  for (int rank = 0; rank < num_ranks; ++rank) {
    ranks.emplace_back([&, rank] {
      try {
        const auto transport = group.make_transport(rank);
        transport->set_timeout(20.0);
        body(rank, *transport);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << rank << ": " << error.what();
        group.abort(1, "a rank failed");
      }
    });
  }
}

}  // namespace halfpipe::runtime
