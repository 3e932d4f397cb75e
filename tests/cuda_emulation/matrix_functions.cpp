// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/matrix_functions.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "tests/cuda_emulation/block_runner.h"

namespace halfpipe::cuda_emulation {
namespace {

constexpr int kRows = 16;    // m
constexpr int kColumns = 8;  // n
constexpr int kDepth = 16;   // k
constexpr int kMatrixRows = 8;
constexpr int kMatrices = 4;
constexpr std::uint32_t kAllLanes = ~0U;

struct Product {
  std::uint32_t a[4];
  std::uint32_t b[2];
  float d[4];
};

struct Load {
  const std::byte* row;
  std::uint32_t out[kMatrices];
  bool transposed;
};

float low_half(std::uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
float high_half(std::uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000U);
}

void conclude_product(WarpSlots& slots, std::uint32_t /*mask*/) {
  float a[kRows][kDepth];
  float b[kDepth][kColumns];
  float d[kRows][kColumns];
  Product parts[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    Product& part = parts[lane] = slots[static_cast<std::size_t>(lane)].get<Product>();
    const int group = lane / 4;
    const int pair = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = group + (i % 2) * 8;
      const int k = 2 * pair + (i / 2) * 8;
      a[row][k] = low_half(part.a[i]);
      a[row][k + 1] = high_half(part.a[i]);
      d[group + (i / 2) * 8][2 * pair + i % 2] = part.d[i];
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * pair + i * 8][group] = low_half(part.b[i]);
      b[2 * pair + i * 8 + 1][group] = high_half(part.b[i]);
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      for (int n = 0; n < kColumns; ++n) d[row][n] = std::fma(a[row][k], b[k][n], d[row][n]);
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    Product& part = parts[lane];
    for (int i = 0; i < 4; ++i) part.d[i] = d[lane / 4 + (i / 2) * 8][2 * (lane % 4) + i % 2];
    slots[static_cast<std::size_t>(lane)].put(part);
  }
}

std::uint32_t pair_of(std::uint16_t low, std::uint16_t high) {
  return std::uint32_t{low} | (std::uint32_t{high} << 16);
}

void conclude_load(WarpSlots& slots, std::uint32_t /*mask*/) {
  Load loads[kLanes];
  std::uint16_t elements[kLanes][kMatrixRows];  // of the row that the lane names
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    loads[lane] = slots[lane].get<Load>();
    std::memcpy(elements[lane], loads[lane].row, sizeof elements[lane]);
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const std::size_t of_group = lane / 4;
    const std::size_t of_pair = 2 * (lane % 4);
    for (std::size_t i = 0; i < kMatrices; ++i) {
      const auto* rows = &elements[i * kMatrixRows];
      loads[lane].out[i] = loads[lane].transposed
                               ? pair_of(rows[of_pair][of_group], rows[of_pair + 1][of_group])
                               : pair_of(rows[of_group][of_pair], rows[of_group][of_pair + 1]);
    }
    slots[lane].put(loads[lane]);
  }
}

}  // namespace

void multiply_matrices(float (&d)[4],
                       const std::uint32_t (&a)[4],
                       std::uint32_t b0,
                       std::uint32_t b1) {
  BlockRunner& runner = BlockRunner::current();
  runner.slot().put(Product{{a[0], a[1], a[2], a[3]}, {b0, b1}, {d[0], d[1], d[2], d[3]}});
  runner.meet(Meeting::kMatrixProduct, kAllLanes, conclude_product);
  const auto product = runner.slot().get<Product>();
  for (int i = 0; i < 4; ++i) d[i] = product.d[i];
}

void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed) {
  BlockRunner& runner = BlockRunner::current();
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) runner.fail("load_matrices: misaligned row");
  runner.slot().put(Load{static_cast<const std::byte*>(row), {}, transposed});
  runner.meet(Meeting::kMatrixLoad, kAllLanes, conclude_load);
  const auto load = runner.slot().get<Load>();
  for (int i = 0; i < kMatrices; ++i) out[i] = load.out[i];
}

}  // namespace halfpipe::cuda_emulation
