// SPDX-License-Identifier: Apache-2.0
// How long an operation takes, and what its device can do at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/device/backend.h"
#include "tools/ops_bench/op_case.h"

namespace halfpipe::ops_bench {

struct Timing {
  int repetitions;
  double seconds;  // the median one's
};

/// Runs the operation for a tenth of `seconds` to warm up, at least once, then for `seconds`, at
/// least 5 times and at most 100000, each from a mark in the stream to the next.
[[nodiscard]] Timing time_op(const PreparedOp& op,
                             device::Backend& backend,
                             device::Stream& stream,
                             double seconds);

/// Of the device, measured in the same way.
struct Ceilings {
  Timing copy;     // of kCopiedBytes
  Timing product;  // of three square matrices of product_size
  std::int64_t product_size;

  /// Bytes read and bytes written.
  [[nodiscard]] double bytes_per_second() const;
  [[nodiscard]] double flops_per_second() const;
};

/// Eight times a last-level cache of 32 MiB.
inline constexpr std::int64_t kCopiedBytes = std::int64_t{256} << 20;
/// Not 2048: rows that lie a multiple of 2 KiB apart meet in few sets of a cache. Two cores of an
/// AMD EPYC (Zen 3): 77 GFLOP/s at 2048, 141 at 1920. A device that multiplies these in less than a
/// millisecond is not filled by them: sizes grow fourfold until it takes that long.
inline constexpr std::int64_t kSmallestProductSize = 1920;
inline constexpr double kShortestProductSeconds = 1e-3;

/// The product is one of `dtype`.
[[nodiscard]] Ceilings measure_ceilings(device::Backend& backend,
                                        device::Stream& stream,
                                        DType dtype,
                                        double seconds);

/// An operation that was measured.
struct MeasuredOp {
  std::string operation;
  std::string family;
  std::string shape;
  Ceiling ceiling;
  ops::OpCost cost;
  Timing timing;

  [[nodiscard]] double bytes_per_second() const { return cost.bytes / timing.seconds; }
  [[nodiscard]] double flops_per_second() const { return cost.flops / timing.seconds; }
  /// Of the ceiling that it is held against; 1 is all of it.
  [[nodiscard]] double share_of(const Ceilings& ceilings) const;
};

/// Takes the operands' memory, and gives it back on return.
[[nodiscard]] MeasuredOp measure_op(const OpCase& op,
                                    device::Backend& backend,
                                    device::Stream& stream,
                                    double seconds);

}  // namespace halfpipe::ops_bench
