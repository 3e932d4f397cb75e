// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/cublas_lt_operation.h"

namespace halfpipe::cuda_emulation {
namespace {

/// Of pre-activations (NVIDIA's cublasLt.h, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD).
constexpr std::int64_t kAuxiliaryLeadingMultiple = 8;

}  // namespace

bool adds_bias(const Operation& operation) {
  return operation.epilogue == CUBLASLT_EPILOGUE_BIAS ||
         operation.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}
bool applies_gelu(const Operation& operation) {
  return operation.epilogue == CUBLASLT_EPILOGUE_GELU_AUX ||
         operation.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}

cublasStatus_t check(const Operation& operation, const Layouts& of) {
  const bool transpose_a = operation.transpose_a == CUBLAS_OP_T;
  const bool transpose_b = operation.transpose_b == CUBLAS_OP_T;
  const std::int64_t M = transpose_a ? of.a.columns : of.a.rows;
  const std::int64_t K = transpose_a ? of.a.rows : of.a.columns;
  const std::int64_t N = transpose_b ? of.b.rows : of.b.columns;
  const std::int64_t K_of_b = transpose_b ? of.b.columns : of.b.rows;
  if (M <= 0 || N <= 0 || K <= 0 || K != K_of_b || of.d.rows != M || of.d.columns != N ||
      !(of.c == of.d)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  for (const Matrix& matrix : {of.a, of.b, of.c, of.d}) {
    if (matrix.leading < matrix.rows) return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool knows_epilogue = operation.epilogue == CUBLASLT_EPILOGUE_DEFAULT ||
                              adds_bias(operation) || applies_gelu(operation);
  if (!knows_epilogue) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (applies_gelu(operation) &&
      (operation.auxiliary == nullptr || operation.auxiliary_leading < M ||
       operation.auxiliary_leading % kAuxiliaryLeadingMultiple != 0)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool fits = of.a.element == of.b.element &&
                    (of.d.element == of.a.element || of.d.element == Element::kFloat32);
  return fits ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

// FNV-1a.
std::uint64_t digest(const Operation& operation, const Layouts& of) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&hash](auto value) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x100000001b3ULL;
  };
  add(operation.transpose_a);
  add(operation.transpose_b);
  add(operation.epilogue);
  add(operation.auxiliary_leading);
  for (const Matrix& matrix : {of.a, of.b, of.c, of.d}) {
    add(matrix.element);
    add(matrix.rows);
    add(matrix.columns);
    add(matrix.leading);
  }
  return hash;
}

}  // namespace halfpipe::cuda_emulation
