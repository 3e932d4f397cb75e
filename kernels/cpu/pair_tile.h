// SPDX-License-Identifier: Apache-2.0
// The innermost part of a product of pairs: how a sum is cut into parts, a tile of registers, and
// what becomes of its sums.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/bfloat16_pairs.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/matmul_tiles.h"
#include "kernels/cpu/packing_pairs.h"
#include "kernels/cpu/register_tile.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

/// Terms of a sum that are added before they are added to the rest: equal parts, even but for the
/// last.
[[nodiscard]] inline std::int64_t depth_of_part(std::int64_t K) {
  constexpr std::int64_t kGranularity = kTensorAlignment / sizeof(BFloat16);
  const std::int64_t num_parts = std::max<std::int64_t>(1, ceil_div(K, kMaxPairedDepth));
  return std::min(K, round_up(ceil_div(K, num_parts), kGranularity));
}

/// What becomes of the sums of a part of a block: what `addend` holds is added; then they are
/// stored in float32, or bias and residual are added, too, and they are rounded into c. Pointers
/// are null for what is not there, and lead to the block's first element.
struct PairDestination {
  const float* addend;
  float* sums;
  std::int64_t sums_stride;  // of addend, too
  BFloat16* c;
  const BFloat16* bias;
  const BFloat16* residual;
  std::int64_t c_stride;  // of residual, too
  bool streams;           // c goes to memory, past the caches; whole tiles of it are whole lines

  [[nodiscard]] PairDestination at(std::int64_t row, std::int64_t column) const {
    PairDestination part = *this;
    if (addend != nullptr) part.addend += row * sums_stride + column;
    if (sums != nullptr) part.sums += row * sums_stride + column;
    if (c != nullptr) part.c += row * c_stride + column;
    if (bias != nullptr) part.bias += column;
    if (residual != nullptr) part.residual += row * c_stride + column;
    return part;
  }

  /// The rows of c, and of what is added, are far apart: they arrive while the sums are made.
  [[gnu::always_inline]] void prefetch(std::int64_t i) const {
    if (c != nullptr && !streams) __builtin_prefetch(c + i * c_stride, /*rw=*/1);
    if (residual != nullptr) __builtin_prefetch(residual + i * c_stride);
    if (sums != nullptr) {
      __builtin_prefetch(sums + i * sums_stride, /*rw=*/1);
      __builtin_prefetch(sums + i * sums_stride + kRegisterColumns - 1, /*rw=*/1);
    }
  }

  /// Of row i, from column j on, what is added before rounding.
  template <typename Width = std::integral_constant<std::int64_t, kLanes>>
  [[gnu::always_inline]] [[nodiscard]] Lanes with_terms(std::int64_t i,
                                                        std::int64_t j,
                                                        Lanes sum_of_terms,
                                                        Width width = {}) const {
    if (bias != nullptr) sum_of_terms += load(bias + j, width);
    if (residual != nullptr) sum_of_terms += load(residual + i * c_stride + j, width);
    return sum_of_terms;
  }

  /// Row i, of `columns` columns; overwrites `row`.
  template <typename Columns>
  [[gnu::always_inline]] void store(std::int64_t i, float* row, Columns columns) const {
    for_each_lanes(0, columns, [&](std::int64_t j, auto width) {
      Lanes sum_of_terms = load_all(row + j);
      if (addend != nullptr) sum_of_terms += load(addend + i * sums_stride + j, width);
      sum_of_terms = with_terms(i, j, sum_of_terms, width);
      if (sums != nullptr) {
        halfpipe::cpu::store(sums + i * sums_stride + j, sum_of_terms, width);
      } else {
        store_all(row + j, sum_of_terms);
      }
    });
    if (c == nullptr) return;
    if (columns == kRegisterColumns) {
      round_lanes(row, kRegisterColumns, c + i * c_stride);
    } else {
      BFloat16 rounded[kRegisterColumns];
      round_lanes(row, kRegisterColumns, rounded);
      std::copy_n(rounded, static_cast<std::int64_t>(columns), c + i * c_stride);
    }
  }
};

/// Whether c goes past the caches: it is larger than they are, its lines would be fetched to be
/// overwritten, and would push out what is multiplied next.
[[nodiscard]] inline bool streams_c(const ops::Matmul& args) {
  constexpr std::int64_t kLargest = std::int64_t{8} << 20;  // elements that are not
  return kMultipliesPairs && !args.accumulate && args.M * args.N > kLargest &&
         args.N % kRegisterColumns == 0 &&
         reinterpret_cast<std::uintptr_t>(args.c) % kTensorAlignment == 0;
}

/// Of a part of the sums of a tile of c. sums: [tile.rows, tile.columns], for all parts but the
/// last where c is bfloat16.
[[nodiscard]] inline PairDestination destination_of(
    const ops::Matmul& args, const Tile& tile, float* sums, bool is_first_part, bool is_last_part) {
  const std::int64_t offset = tile.row * args.N + tile.column;
  PairDestination to{};
  if (args.accumulate) {
    to.sums = static_cast<float*>(args.c) + offset;
    to.sums_stride = args.N;
    to.addend = to.sums;
    return to;
  }
  to.sums_stride = tile.columns;
  if (!is_first_part) to.addend = sums;
  if (!is_last_part) {
    to.sums = sums;
    return to;
  }
  to.c = static_cast<BFloat16*>(args.c) + offset;
  to.c_stride = args.N;
  to.streams = streams_c(args);
  if (args.bias_or_null != nullptr) {
    to.bias = static_cast<const BFloat16*>(args.bias_or_null) + tile.column;
  }
  if (args.residual_or_null != nullptr) {
    to.residual = static_cast<const BFloat16*>(args.residual_or_null) + offset;
  }
  return to;
}

/// kRows rows times one sliver. Not inlined: what surrounds the loop costs it registers. Sums that
/// end as bfloat16 are rounded straight from registers where a row of them is two: 3 % of a product
/// of 384 terms.
template <std::int64_t kRows>
[[gnu::noinline]] void multiply_rows(const PairOperands& operands,
                                     std::int64_t columns,
                                     const PairDestination& to) {
  for (std::int64_t i = 0; i < kRows; ++i) to.prefetch(i);
#if defined(__AVX512BF16__)
  if (columns == kRegisterColumns && to.addend == nullptr && to.sums == nullptr) {
    Lanes first;
    multiply_pair_registers<kRows, kRegisterVectors>(
        operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
          const Lanes last = to.with_terms(i, j * kVectorLanes, std::bit_cast<Lanes>(sum));
          if (j == 0) {
            first = last;
          } else {
            store_rounded(first, last, to.c + i * to.c_stride, to.streams);
          }
        });
    return;
  }
#endif
  alignas(64) float sums[kRows * kRegisterColumns];
  multiply_pair_registers<kRows, kRegisterVectors>(
      operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
        store_vector(sums + i * kRegisterColumns + j * kVectorLanes, sum);
      });
  for (std::int64_t i = 0; i < kRows; ++i) {
    float* const row = sums + i * kRegisterColumns;
    if (columns == kRegisterColumns) {
      to.store(i, row, std::integral_constant<std::int64_t, kRegisterColumns>{});
    } else {
      to.store(i, row, columns);
    }
  }
}

}  // namespace halfpipe::cpu
