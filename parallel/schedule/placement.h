// SPDX-License-Identifier: Apache-2.0
// Which pipeline rank hosts each stage.
#pragma once

#include <cstdint>

namespace halfpipe::schedule {

enum class PlacementKind : std::uint8_t {
  kLinear,       // one stage per rank: stage s on rank s
  kInterleaved,  // stage s on rank s mod p (Narayanan et al. 2021, arXiv:2104.04473)
  kV,            // two stages per rank: stage s on rank s, then back: stage s on rank 2p-1-s
                 // (arXiv:2405.15362)
  kZigzag,       // any number of stages per rank: down the ranks, up again, down, ...; with one
                 // stage per rank this is kLinear, with two kV
};

/// For people: "linear", "interleaved", "V", "zigzag".
[[nodiscard]] const char* name_of(PlacementKind kind);

/// p pipeline ranks, num_chunks stages on each; num_stages = p * num_chunks.
class Placement {
 public:
  /// num_chunks must be 1 for kLinear and 2 for kV; p and num_chunks at least 1. Throws
  /// ScheduleError otherwise. kZigzag with one or two chunks becomes kLinear or kV, so that the
  /// same zigzag is equal whatever it was called.
  Placement(PlacementKind kind, int num_pipeline_ranks, int num_chunks);

  [[nodiscard]] PlacementKind kind() const { return kind_; }
  [[nodiscard]] int num_pipeline_ranks() const { return num_pipeline_ranks_; }
  [[nodiscard]] int num_chunks() const { return num_chunks_; }
  [[nodiscard]] int num_stages() const { return num_pipeline_ranks_ * num_chunks_; }

  [[nodiscard]] int rank_of(int stage) const;
  [[nodiscard]] int chunk_of(int stage) const { return stage / num_pipeline_ranks_; }
  [[nodiscard]] int stage_of(int pipeline_rank, int chunk) const;
  /// First and last stage share a rank: a tied embedding needs no communication.
  [[nodiscard]] bool ends_share_rank() const { return rank_of(0) == rank_of(num_stages() - 1); }
  /// The stages of `chunk` go from rank p-1 to rank 0: every second chunk of a V or zigzag.
  [[nodiscard]] bool goes_up(int chunk) const {
    return (kind_ == PlacementKind::kV || kind_ == PlacementKind::kZigzag) && chunk % 2 == 1;
  }

  friend bool operator==(const Placement&, const Placement&) = default;

 private:
  PlacementKind kind_;
  int num_pipeline_ranks_;
  int num_chunks_;
};

}  // namespace halfpipe::schedule
