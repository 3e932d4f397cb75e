// SPDX-License-Identifier: Apache-2.0
// Which way to multiply. The build decides for float32 (both ends of a job have the same program,
// and ways differ in bits), and the CPU for bfloat16 where the build knows no instructions for it.
#include "kernels/cpu/matmul.h"

#include <cstdint>

#include "kernels/cpu/activation.h"
#include "kernels/cpu/bfloat16_pairs.h"
#include "kernels/cpu/matmul_blocked.h"
#include "kernels/cpu/matmul_library.h"
#include "kernels/cpu/matmul_pairs.h"
#include "kernels/cpu/matmul_primitive.h"
#include "kernels/cpu/product_primitive.h"

namespace halfpipe::cpu {
namespace {

// One core of an AMD EPYC (Zen 3, AVX2; 100 GFLOP/s of multiply-adds from registers): 77 to 95
// GFLOP/s for the products of a block of width 384, the library 64 to 91, least where rows lie a
// multiple of 2 KiB apart. With AVX-512 the library reached 155 to 170 of about 190, and the other
// has not been measured; a build for any x86-64 (HALFPIPE_NATIVE=OFF without -march) has no wide
// vectors, the library does.
#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
constexpr bool kBlockedFloat32 = true;
#else
constexpr bool kBlockedFloat32 = false;
#endif

// The same for bfloat16: products of pairs, but where AMX, which the library uses, multiplies
// several times as fast.
#if defined(__AMX_BF16__)
constexpr bool kPairs = false;
#else
constexpr bool kPairs = kMultipliesPairs;
#endif

/// A product of a few rows (generation) reads b once: packing it took longer than the product, 20
/// GFLOP/s of 1 x 1152 x 384 where the library had 36 (one core of the same machine, other work
/// beside it).
constexpr std::int64_t kFewRows = 6;

bool multiplies_pairs(const ops::Matmul& args) {
  return kPairs && args.dtype == DType::kBFloat16 && args.M > kFewRows;
}
bool is_blocked(const ops::Matmul& args) {
  return args.dtype == DType::kBFloat16 || (kBlockedFloat32 && args.M > kFewRows);
}

/// No operation of its own: what is fused on a GPU saves a pass over its memory, and the product
/// of a CPU takes far longer than one.
void matmul_with_gelu(const ops::Matmul& args, ThreadPool& pool) {
  ops::Matmul product = args;
  product.c = args.pre_activation_or_null;
  product.pre_activation_or_null = nullptr;
  matmul(product, pool);
  gelu_forward({.out = args.c, .x = product.c, .count = args.M * args.N, .dtype = args.dtype},
               pool);
}

}  // namespace

void matmul(const ops::Matmul& args, ThreadPool& pool) {
  ops::check_matmul(args);
  if (args.M == 0 || args.N == 0) return;
  if (args.pre_activation_or_null != nullptr) return matmul_with_gelu(args, pool);
  if (multiplies_pairs(args)) {
    matmul_pairs(args, pool);
  } else if (args.dtype == DType::kBFloat16 && cpu_multiplies_bfloat16()) {
    matmul_primitive(args, pool);
  } else if (is_blocked(args)) {
    matmul_blocked(args, pool);
  } else {
    matmul_library(args, pool);
  }
}

std::size_t matmul_scratch_bytes(const ops::Matmul& args, const ThreadPool& pool) {
  if (multiplies_pairs(args)) {
    return matmul_pairs_scratch_bytes(args, pool);
  }
  if (args.dtype == DType::kBFloat16 && cpu_multiplies_bfloat16()) {
    return matmul_primitive_scratch_bytes(args, pool);
  }
  if (is_blocked(args)) {
    return matmul_blocked_scratch_bytes(args, pool);
  }
  return matmul_library_scratch_bytes(args, pool);
}

}  // namespace halfpipe::cpu
