// SPDX-License-Identifier: Apache-2.0
// What a call of the emulated cuBLASLt is asked to compute, and whether its parts go together.
#pragma once

#include <cublasLt.h>

#include <cstdint>

#include "tests/cuda_emulation/matrix_product.h"

namespace halfpipe::cuda_emulation {

struct Operation {
  std::int32_t transpose_a;
  std::int32_t transpose_b;
  std::uint32_t epilogue;
  const void* bias;
  void* auxiliary;
  std::int64_t auxiliary_leading;
};

[[nodiscard]] bool adds_bias(const Operation& operation);
[[nodiscard]] bool applies_gelu(const Operation& operation);

struct Layouts {
  Matrix a;
  Matrix b;
  Matrix c;
  Matrix d;
};

[[nodiscard]] cublasStatus_t check(const Operation& operation, const Layouts& of);
/// Of all that tells products apart but the addresses.
[[nodiscard]] std::uint64_t digest(const Operation& operation, const Layouts& of);

}  // namespace halfpipe::cuda_emulation
