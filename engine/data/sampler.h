// SPDX-License-Identifier: Apache-2.0
// Which tokens each training and evaluation sequence holds. Stateless: a sequence follows from
// (seed, step, index) alone, so that a resumed run, on whatever layout of ranks, reads what an
// uninterrupted one would have read.
#pragma once

#include "engine/data/token_source.h"

#include <cstdint>
#include <span>

namespace halfpipe::data {

/// Consecutive sequences of a global batch or of an evaluation.
struct SequenceRange {
  std::int64_t first;
  std::int64_t count;  // B
};

/// Cuts n tokens into W = floor((n - 1) / T) windows of T inputs whose targets are the same tokens
/// shifted by one. Sequence number s = step * global_batch_size + index is window s mod W of epoch
/// floor(s / W); within an epoch every window comes once, in an order that a Feistel permutation
/// keyed by (seed, epoch) draws. Each epoch moves the cuts by a phase drawn from 0 .. T-1, so that
/// sequences do not begin at the same tokens each time:
///   start = min(phase + window * T, n - 1 - T)
/// where the minimum only ever holds the last window back, which then overlaps the one before by
/// less than T tokens.
class BatchSampler {
 public:
  /// Throws FileError with the numbers where the tokens do not make one sequence (n < T + 1).
  BatchSampler(std::uint64_t seed,
               std::int64_t num_tokens,
               std::int64_t seq_len,
               std::int64_t global_batch_size);

  /// First token of a sequence: inputs are start .. start + T - 1, targets start + 1 .. start + T.
  /// 0 <= step, 0 <= sequence_index < global_batch_size.
  [[nodiscard]] std::int64_t start_of(std::int64_t step, std::int64_t sequence_index) const;

  /// Copies sequences `range` of step `step` into inputs [B, T] and targets [B, T]; an empty span
  /// is left out (the first stage needs no targets, the last no inputs).
  void fill(std::int64_t step,
            SequenceRange range,
            const TokenSource& source,
            std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const;

  [[nodiscard]] std::int64_t num_windows() const noexcept {
    return num_windows_;
  }  // W, sequences per epoch

 private:
  std::uint64_t seed_;
  std::int64_t num_tokens_;
  std::int64_t seq_len_;
  std::int64_t global_batch_size_;
  std::int64_t num_windows_;
};

/// What becomes of the last tokens that do not make a whole window.
enum class PartialWindow : std::uint8_t {
  kDrop,  // evaluation during training: all windows have T targets
  kKeep,  // `halfpipe evaluate`: every token but the first is predicted exactly once
};

/// Deterministic windows for evaluation: window i has inputs i T .. i T + T - 1, from the start of
/// the split.
class EvaluationWindows {
 public:
  /// `max_windows` 0: as many as the split has. Throws FileError with the numbers where it has none
  /// (n < T + 1; n < 2 with kKeep).
  EvaluationWindows(std::int64_t num_tokens,
                    std::int64_t seq_len,
                    std::int64_t max_windows,
                    PartialWindow partial = PartialWindow::kDrop);

  [[nodiscard]] std::int64_t num_windows() const noexcept { return num_windows_; }
  [[nodiscard]] std::int64_t start_of(std::int64_t window) const { return window * seq_len_; }
  /// Targets of a window: T, less for a partial last window, 0 for a window at or beyond
  /// num_windows().
  [[nodiscard]] std::int64_t num_targets(std::int64_t window) const;

  /// Copies windows `range` into inputs [B, T] and targets [B, T]; an empty span is left out.
  /// Positions at or beyond num_targets() hold token 0 in both: their losses are to be ignored, and
  /// under causal attention they change none of the others. So a last micro-batch may reach beyond
  /// num_windows().
  void fill(SequenceRange range,
            const TokenSource& source,
            std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const;

 private:
  std::int64_t num_tokens_;
  std::int64_t seq_len_;
  std::int64_t num_windows_;
};

}  // namespace halfpipe::data
