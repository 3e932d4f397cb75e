// SPDX-License-Identifier: Apache-2.0
// The product of one tile by oneDNN's matmul primitive, for element types that dnnl_sgemm does not
// know.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

#include "kernels/core/dtype.h"

namespace halfpipe::cpu {

/// c = op(a) op(b), or c += op(a) op(b), with float32 c and sums. None of M, N, K is 0.
struct TileProduct {
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  std::int64_t a_stride;  // elements from row to row as stored; as for b and c
  std::int64_t b_stride;
  std::int64_t c_stride;
  bool transpose_a;
  bool transpose_b;
  bool accumulate;
  DType dtype;  // of a and b

  // NOLINTNEXTLINE(modernize-use-nullptr): there is no pointer here
  friend auto operator<=>(const TileProduct&, const TileProduct&) = default;
};

struct TileOperands {
  float* c;
  const void* a;
  const void* b;
  void* scratch;  // product_scratch_bytes() of it; null when that is 0
};

/// Whether the CPU has instructions for the element type and oneDNN uses them.
[[nodiscard]] bool cpu_multiplies_bfloat16();
/// Whether oneDNN multiplies it at all, be it element by element.
[[nodiscard]] bool library_multiplies(DType dtype);

/// The same on every thread.
[[nodiscard]] std::size_t product_scratch_bytes(const TileProduct& product);
/// Runs on the calling thread alone; returns a dnnl_status_t. A thread makes the primitive of a
/// product when it first meets it and keeps it: that takes some 100 us, and memory, so it is for
/// products that come again.
[[nodiscard]] int run_product(const TileProduct& product, const TileOperands& operands);

}  // namespace halfpipe::cpu
