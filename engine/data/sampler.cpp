// SPDX-License-Identifier: Apache-2.0
// Window arithmetic of sampler.h.
#include "engine/data/sampler.h"

#include "engine/data/permutation.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"

#include <fmt/format.h>

#include <algorithm>

namespace halfpipe::data {

namespace {

void check_batch(SequenceRange range, std::int64_t seq_len, std::span<const std::int32_t> batch) {
  const auto wanted = static_cast<std::size_t>(range.count * seq_len);
  HALFPIPE_CHECK(batch.empty() || batch.size() == wanted, "a batch has B * T tokens");
}

// Row `row` of a [B, T] batch; nothing where the batch is left out.
std::span<std::int32_t> row_of(std::span<std::int32_t> batch,
                               std::int64_t row,
                               std::int64_t seq_len) {
  if (batch.empty()) return {};
  return batch.subspan(static_cast<std::size_t>(row * seq_len), static_cast<std::size_t>(seq_len));
}

}  // namespace

BatchSampler::BatchSampler(std::uint64_t seed,
                           std::int64_t num_tokens,
                           std::int64_t seq_len,
                           std::int64_t global_batch_size)
    : seed_(seed),
      num_tokens_(num_tokens),
      seq_len_(seq_len),
      global_batch_size_(global_batch_size),
      num_windows_(seq_len > 0 ? (num_tokens - 1) / seq_len : 0) {
  HALFPIPE_CHECK(seq_len > 0 && global_batch_size > 0,
                 "sequences have tokens, batches have sequences");
  if (num_tokens <= seq_len) {
    throw FileError(
        fmt::format("the training split has {} tokens; model.seq_len ({}) needs at least {}",
                    num_tokens, seq_len, seq_len + 1));
  }
}

std::int64_t BatchSampler::start_of(std::int64_t step, std::int64_t sequence_index) const {
  HALFPIPE_CHECK(step >= 0 && sequence_index >= 0 && sequence_index < global_batch_size_,
                 "no such sequence in a global batch");
  const std::int64_t sequence = step * global_batch_size_ + sequence_index;
  const std::int64_t epoch = sequence / num_windows_;
  const auto words =
      philox(seed_, static_cast<std::uint64_t>(epoch), hash_name("data.sampler.epoch"));
  const std::uint64_t key = (std::uint64_t{words[0]} << 32U) | words[1];
  const std::int64_t phase = std::int64_t{words[2]} % seq_len_;
  const std::int64_t window = Permutation(num_windows_, key)(sequence % num_windows_);
  return std::min(phase + window * seq_len_, num_tokens_ - 1 - seq_len_);
}

void BatchSampler::fill(std::int64_t step,
                        SequenceRange range,
                        const TokenSource& source,
                        std::span<std::int32_t> inputs,
                        std::span<std::int32_t> targets) const {
  HALFPIPE_CHECK(source.size() == num_tokens_, "the sampler was made for another split");
  check_batch(range, seq_len_, inputs);
  check_batch(range, seq_len_, targets);
  for (std::int64_t row = 0; row < range.count; ++row) {
    const std::int64_t start = start_of(step, range.first + row);
    if (!inputs.empty()) source.read(start, row_of(inputs, row, seq_len_));
    if (!targets.empty()) source.read(start + 1, row_of(targets, row, seq_len_));
  }
}

EvaluationWindows::EvaluationWindows(std::int64_t num_tokens,
                                     std::int64_t seq_len,
                                     std::int64_t max_windows,
                                     PartialWindow partial)
    : num_tokens_(num_tokens), seq_len_(seq_len), num_windows_(0) {
  HALFPIPE_CHECK(seq_len > 0 && max_windows >= 0, "windows have tokens; a limit is not negative");
  const std::int64_t min_tokens = partial == PartialWindow::kKeep ? 2 : seq_len + 1;
  if (num_tokens < min_tokens) {
    throw FileError(
        fmt::format("the evaluation split has {} tokens; windows of {} need at least {}",
                    num_tokens, seq_len, min_tokens));
  }
  const std::int64_t num_targets = num_tokens - 1;
  num_windows_ = partial == PartialWindow::kKeep ? (num_targets + seq_len - 1) / seq_len
                                                 : num_targets / seq_len;
  if (max_windows > 0) num_windows_ = std::min(num_windows_, max_windows);
}

std::int64_t EvaluationWindows::num_targets(std::int64_t window) const {
  if (window >= num_windows_) return 0;
  return std::min(seq_len_, num_tokens_ - 1 - start_of(window));
}

void EvaluationWindows::fill(SequenceRange range,
                             const TokenSource& source,
                             std::span<std::int32_t> inputs,
                             std::span<std::int32_t> targets) const {
  HALFPIPE_CHECK(source.size() == num_tokens_, "the windows were made for another split");
  check_batch(range, seq_len_, inputs);
  check_batch(range, seq_len_, targets);
  const auto fill_row = [&](std::span<std::int32_t> row, std::int64_t first, std::int64_t count) {
    if (row.empty()) return;
    const auto real = row.first(static_cast<std::size_t>(count));
    if (!real.empty()) source.read(first, real);
    std::fill(row.begin() + count, row.end(), 0);
  };
  for (std::int64_t row = 0; row < range.count; ++row) {
    const std::int64_t window = range.first + row;
    fill_row(row_of(inputs, row, seq_len_), start_of(window), num_targets(window));
    fill_row(row_of(targets, row, seq_len_), start_of(window) + 1, num_targets(window));
  }
}

}  // namespace halfpipe::data
