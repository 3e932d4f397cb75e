// SPDX-License-Identifier: Apache-2.0
// The ways of the CPU backend to multiply, one of which matmul() takes for each element type: all
// of them keep its contract.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <vector>

#include "kernels/cpu/matmul_blocked.h"
#include "kernels/cpu/matmul_library.h"
#include "kernels/cpu/matmul_pairs.h"
#include "kernels/cpu/matmul_primitive.h"
#include "kernels/cpu/product_primitive.h"
#include "tests/kernels/guarded_buffer.h"

namespace halfpipe::testing {

struct MatmulWay {
  const char* name;
  DType dtype;
  void (*multiply)(const ops::Matmul& args, cpu::ThreadPool& pool);
  std::size_t (*scratch_bytes)(const ops::Matmul& args, const cpu::ThreadPool& pool);
  bool by_primitive;

  /// Whether this CPU and this oneDNN have it.
  [[nodiscard]] bool exists() const { return !by_primitive || cpu::library_multiplies(dtype); }

  /// With scratch of exactly the size asked for, NaN in either type.
  void run(ops::Matmul args, cpu::ThreadPool& pool) const {
    args.dtype = dtype;
    const GuardedBuffer<std::uint8_t> scratch(
        std::vector<std::uint8_t>(scratch_bytes(args, pool), 0xff));
    args.scratch = scratch.get();
    multiply(args, pool);
  }
};

inline std::ostream& operator<<(std::ostream& stream, const MatmulWay& way) {
  return stream << way.name;
}

// The primitive in float32 is here because it exists on every CPU: all of matmul_primitive but the
// element type is tested where bfloat16 is not.
inline constexpr std::array kMatmulWays{
    MatmulWay{"float32_blocked", DType::kFloat32, cpu::matmul_blocked,
              cpu::matmul_blocked_scratch_bytes, false},
    MatmulWay{"bfloat16_blocked", DType::kBFloat16, cpu::matmul_blocked,
              cpu::matmul_blocked_scratch_bytes, false},
    MatmulWay{"bfloat16_primitive", DType::kBFloat16, cpu::matmul_primitive,
              cpu::matmul_primitive_scratch_bytes, true},
    MatmulWay{"float32_primitive", DType::kFloat32, cpu::matmul_primitive,
              cpu::matmul_primitive_scratch_bytes, true},
    MatmulWay{"float32_library", DType::kFloat32, cpu::matmul_library,
              cpu::matmul_library_scratch_bytes, false},
    MatmulWay{"bfloat16_pairs", DType::kBFloat16, cpu::matmul_pairs,
              cpu::matmul_pairs_scratch_bytes, false}};

inline constexpr const char* kWayIsMissing = "this oneDNN multiplies no bfloat16 on this CPU";

}  // namespace halfpipe::testing
