// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/state/parameter_digest.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "engine/checkpoint/digest.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

/// The slices of all ranks, which tile the whole. Collective.
std::vector<TensorSlice> gather_slices(const TensorSlice& mine, transport::Transport& tensor) {
  std::vector<TensorSlice> slices;
  for (const auto& bytes : tensor.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&slices.emplace_back(), bytes.data(), sizeof(TensorSlice));
    HALFPIPE_CHECK(slices.back().whole_count() == mine.whole_count(),
                   "the slices are of different parameters");
  }
  return slices;
}

/// Elements of a slice, one after the other: from the first to the last that it has of elements
/// first .. last - 1 of the whole.
struct Elements {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// visit(SliceRun) for what a slice has of elements first .. last - 1 of the whole.
template <typename Visit>
void for_each_run_within(const TensorSlice& slice,
                         std::int64_t first,
                         std::int64_t last,
                         Visit&& visit) {
  const std::int64_t row = (slice.end - slice.begin) * slice.inner;
  const std::int64_t row_of_whole = slice.extent * slice.inner;
  const std::int64_t kept =
      std::max<std::int64_t>(0, std::min(slice.end, slice.extent) - slice.begin) * slice.inner;
  for (std::int64_t o = first / row_of_whole; o * row_of_whole < last; ++o) {
    const std::int64_t begin = o * row_of_whole + slice.begin * slice.inner;
    const std::int64_t from = std::max(first, begin);
    const std::int64_t to = std::min(last, begin + kept);
    if (from < to) visit(SliceRun{from, o * row + from - begin, to - from});
  }
}

Elements elements_within(const TensorSlice& slice, std::int64_t first, std::int64_t last) {
  Elements elements;
  for_each_run_within(slice, first, last, [&](const SliceRun& run) {
    if (elements.count == 0) elements.first = run.in_slice;
    elements.count = run.in_slice + run.count - elements.first;
  });
  return elements;
}

/// What this rank has of elements first .. last - 1 of the whole, on the host.
std::vector<float> values_within(const model::Parameter& parameter,
                                 std::int64_t first,
                                 std::int64_t last,
                                 HostWindow& window) {
  const Elements held = elements_within(parameter.slice, first, last);
  std::vector<float> values(static_cast<std::size_t>(held.count));
  window.read(parameter.value + held.first, held.count, sizeof(float),
              [&](std::int64_t from, std::int64_t to, const void* window_values) {
                std::memcpy(values.data() + from, window_values,
                            static_cast<std::size_t>(to - from) * sizeof(float));
              });
  return values;
}

/// The same of all ranks, put together.
void assemble(const std::vector<TensorSlice>& slices,
              const std::vector<std::vector<std::byte>>& values,
              std::int64_t first,
              std::int64_t last,
              std::vector<float>& whole) {
  whole.resize(static_cast<std::size_t>(last - first));
  std::int64_t num_set = 0;
  for (std::size_t rank = 0; rank < slices.size(); ++rank) {
    const std::int64_t first_held = elements_within(slices[rank], first, last).first;
    for_each_run_within(slices[rank], first, last, [&](const SliceRun& run) {
      std::memcpy(
          whole.data() + (run.in_whole - first),
          values[rank].data() + static_cast<std::size_t>(run.in_slice - first_held) * sizeof(float),
          static_cast<std::size_t>(run.count) * sizeof(float));
      num_set += run.count;
    });
  }
  HALFPIPE_CHECK(num_set == last - first, "the slices of a parameter do not tile it");
}

}  // namespace

std::string parameter_digest(const model::Parameter& parameter,
                             HostWindow& window,
                             transport::Transport* tensor_or_null) {
  checkpoint::Digest digest;
  std::vector<TensorSlice> slices{parameter.slice};
  if (tensor_or_null != nullptr) slices = gather_slices(parameter.slice, *tensor_or_null);
  if (std::ranges::all_of(slices, &TensorSlice::is_whole)) {
    window.read(parameter.value, parameter.count(), sizeof(float),
                [&](std::int64_t first, std::int64_t last, const void* values) {
                  digest.update({static_cast<const std::byte*>(values),
                                 static_cast<std::size_t>(last - first) * sizeof(float)});
                });
    return digest.hex();
  }
  HALFPIPE_CHECK(tensor_or_null != nullptr, "a rank alone must hold all of a parameter");
  const std::int64_t count = parameter.slice.whole_count();
  const std::int64_t piece = window.num_elements(sizeof(float));
  std::vector<float> whole;
  for (std::int64_t first = 0; first < count; first += piece) {
    const std::int64_t last = std::min(first + piece, count);
    const std::vector<float> mine = values_within(parameter, first, last, window);
    assemble(slices, tensor_or_null->all_gather(std::as_bytes(std::span(mine))), first, last,
             whole);
    digest.update(std::as_bytes(std::span(whole)));
  }
  return digest.hex();
}

}  // namespace halfpipe::runtime
