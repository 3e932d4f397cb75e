// SPDX-License-Identifier: Apache-2.0
// Warp-wide matrix instructions of sm_80 and later (PTX ISA 8.x, "mma.sync", "ldmatrix"). All 32
// lanes take part. tests/cuda_emulation replaces this header.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace halfpipe::cuda {

/// d += a b for one warp: a [16, 16] row-major bfloat16, b [16, 8] column-major bfloat16, d [16, 8]
/// float32. With group = lane / 4 and pair = lane % 4, a lane holds
///   a: {[group, 2 pair], [group + 8, 2 pair], [group, 2 pair + 8], [group + 8, 2 pair + 8]}, each
///      with the element to its right in the upper half
///   b: {[2 pair, group], [2 pair + 8, group]}, each with the element below in the upper half
///   d: {[group, 2 pair], [group, 2 pair + 1], [group + 8, 2 pair], [group + 8, 2 pair + 1]}
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4],
                                             const std::uint32_t (&a)[4],
                                             std::uint32_t b0,
                                             std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Four 8 x 8 matrices of 16-bit elements from shared memory. Lane 8 i + r gives the address of row
/// r of matrix i (16 bytes, aligned); lane l receives in out[i] elements 2 (l % 4) and 2 (l % 4) +
/// 1 of row l / 4 of matrix i.
__device__ __forceinline__ void load_matrices(std::uint32_t (&out)[4], const void* shared_row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

/// As load_matrices, each matrix transposed on the way: lane l receives in out[i] elements l / 4 of
/// rows 2 (l % 4) and 2 (l % 4) + 1 of matrix i.
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&out)[4],
                                                         const void* shared_row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

}  // namespace halfpipe::cuda
