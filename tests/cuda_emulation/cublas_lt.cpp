// SPDX-License-Identifier: Apache-2.0
// cuBLASLt on the host. Refuses what does not fit together, an algorithm chosen for another product
// or with more alignment than the operands have; overwrites the workspace, as a GPU may. It has
// several algorithms for each product, which differ in their bits: number i adds the sum over K in
// i + 1 parts. With HALFPIPE_EMULATION_QUICK_ALGORITHM=i in the environment, all others are slow.
#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "tests/cuda_emulation/cublas_lt_operation.h"
#include "tests/cuda_emulation/matrix_product.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/stream_queue.h"

struct cublasLtContext {};

namespace halfpipe::cuda_emulation {
namespace {

constexpr std::size_t kWorkspaceAlignment = 256;
constexpr int kNumAlgorithms = 3;
/// Longer than any product of a test takes.
constexpr std::chrono::milliseconds kSlowness{2};
/// Of each end of the workspace: enough to be seen, and quick.
constexpr std::size_t kOverwrittenBytes = 4096;

struct Preference {
  std::uint64_t workspace_bytes;
  std::uint32_t reductions;
  std::uint32_t a_alignment;
  std::uint32_t b_alignment;
  std::uint32_t c_alignment;
  std::uint32_t d_alignment;
};

// Unless the caller says otherwise.
constexpr Operation kDefaultOperation{.transpose_a = CUBLAS_OP_N,
                                      .transpose_b = CUBLAS_OP_N,
                                      .epilogue = CUBLASLT_EPILOGUE_DEFAULT,
                                      .bias = nullptr,
                                      .auxiliary = nullptr,
                                      .auxiliary_leading = 0};
constexpr Preference kDefaultPreference{0, CUBLASLT_REDUCTION_SCHEME_MASK, 256, 256, 256, 256};

/// What an algorithm was chosen for.
struct Algorithm {
  std::uint64_t product;  // a digest
  std::uint64_t workspace_bytes;
  std::uint32_t a_alignment;
  std::uint32_t b_alignment;
  std::uint32_t c_alignment;
  std::uint32_t d_alignment;
  std::uint64_t bias_alignment;
  std::uint64_t auxiliary_alignment;
  std::int64_t number;
};

bool is_slow(std::int64_t algorithm) {
  const char* const quick_or_null = std::getenv("HALFPIPE_EMULATION_QUICK_ALGORITHM");
  return quick_or_null != nullptr && std::to_string(algorithm) != quick_or_null;
}

template <typename T, typename Opaque>
T unwrap(const Opaque* opaque) {
  static_assert(sizeof(T) <= sizeof(Opaque));
  T value;
  std::memcpy(&value, opaque, sizeof value);
  return value;
}

template <typename T, typename Opaque>
void wrap(Opaque* opaque, const T& value) {
  static_assert(sizeof(T) <= sizeof(Opaque));
  std::memcpy(opaque, &value, sizeof value);
}

template <typename T>
cublasStatus_t take(T& member, const void* value, std::size_t bytes) {
  if (bytes != sizeof member) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&member, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

std::uint64_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return std::uint64_t{1} << std::countr_zero(address | 256U);
}

Layouts layouts_of(const cublasLtMatrixLayoutOpaque_t* a,
                   const cublasLtMatrixLayoutOpaque_t* b,
                   const cublasLtMatrixLayoutOpaque_t* c,
                   const cublasLtMatrixLayoutOpaque_t* d) {
  return {unwrap<Matrix>(a), unwrap<Matrix>(b), unwrap<Matrix>(c), unwrap<Matrix>(d)};
}

void overwrite(void* workspace, std::size_t bytes) {
  auto* const begin = static_cast<std::byte*>(workspace);
  const std::size_t part = std::min(bytes, kOverwrittenBytes);
  std::memset(begin, 0xff, part);
  std::memset(begin + bytes - part, 0xff, part);
}

std::size_t bytes_of(const Matrix& matrix) {
  const std::size_t element = matrix.element == Element::kFloat32 ? 4 : 2;
  return static_cast<std::size_t>((matrix.columns - 1) * matrix.leading + matrix.rows) * element;
}

bool is_aligned(const void* pointer, std::uint64_t alignment) {
  return alignment_of(pointer) >= alignment;
}

}  // namespace
}  // namespace halfpipe::cuda_emulation

using namespace halfpipe::cuda_emulation;

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "CUBLAS_STATUS_UNKNOWN";
}
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "success" : cublasLtGetStatusName(status);
}

std::size_t cublasLtGetVersion() {
  return 0;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t operation,
                                      cublasComputeType_t compute_type,
                                      cudaDataType_t scale_type) {
  if (compute_type != CUBLAS_COMPUTE_32F || scale_type != CUDA_R_32F) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  wrap(operation, kDefaultOperation);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value,
                                              std::size_t bytes) {
  auto changed = unwrap<Operation>(operation);
  cublasStatus_t status = CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      status = take(changed.transpose_a, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      status = take(changed.transpose_b, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      status = take(changed.epilogue, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      status = take(changed.bias, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      status = take(changed.auxiliary, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      status = take(changed.auxiliary_leading, value, bytes);
      break;
  }
  if (status == CUBLAS_STATUS_SUCCESS) wrap(operation, changed);
  return status;
}

cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t layout,
                                        cudaDataType type,
                                        std::uint64_t rows,
                                        std::uint64_t columns,
                                        std::int64_t leading_dimension) {
  wrap(layout, Matrix{type == CUDA_R_32F ? Element::kFloat32 : Element::kBFloat16,
                      static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns),
                      leading_dimension});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t preference) {
  wrap(preference, kDefaultPreference);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value,
                                                    std::size_t bytes) {
  auto p = unwrap<Preference>(preference);
  cublasStatus_t status = CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      status = take(p.workspace_bytes, value, bytes);
      break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      status = take(p.reductions, value, bytes);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      status = take(p.a_alignment, value, bytes);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      status = take(p.b_alignment, value, bytes);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      status = take(p.c_alignment, value, bytes);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      status = take(p.d_alignment, value, bytes);
      break;
  }
  if (status == CUBLAS_STATUS_SUCCESS) wrap(preference, p);
  return status;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t /*handle*/,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference,
                                              int num_requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* num_found) {
  *num_found = 0;
  const auto what = unwrap<Operation>(operation);
  const Layouts layouts = layouts_of(a, b, c, d);
  const cublasStatus_t status = check(what, layouts);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (num_requested < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const auto p = unwrap<Preference>(preference);
  *num_found = std::min(num_requested, kNumAlgorithms);
  for (int i = 0; i < *num_found; ++i) {
    results[i] = {};
    results[i].workspaceSize = p.workspace_bytes;
    wrap(&results[i].algo, Algorithm{digest(what, layouts), p.workspace_bytes, p.a_alignment,
                                     p.b_alignment, p.c_alignment, p.d_alignment,
                                     alignment_of(what.bias), alignment_of(what.auxiliary), i});
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t /*handle*/,
                                       cublasLtMatmulDesc_t operation,
                                       cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c,
                                       cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  const auto what = unwrap<Operation>(operation);
  const Layouts layouts = layouts_of(a, b, c, d);
  const cublasStatus_t status = check(what, layouts);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const auto chosen = unwrap<Algorithm>(algorithm);
  if (chosen.product != digest(what, layouts)) return CUBLAS_STATUS_NOT_SUPPORTED;
  *result = {};
  result->algo = *algorithm;
  result->workspaceSize = chosen.workspace_bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t /*handle*/,
                              cublasLtMatmulDesc_t operation,
                              const void* alpha,
                              const void* a,
                              cublasLtMatrixLayout_t a_layout,
                              const void* b,
                              cublasLtMatrixLayout_t b_layout,
                              const void* beta,
                              const void* c,
                              cublasLtMatrixLayout_t c_layout,
                              void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm,
                              void* workspace,
                              std::size_t workspace_bytes,
                              cudaStream_t stream) {
  const auto what = unwrap<Operation>(operation);
  const Layouts of = layouts_of(a_layout, b_layout, c_layout, d_layout);
  const cublasStatus_t status = check(what, of);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const bool has_bias = adds_bias(what);
  const bool has_gelu = applies_gelu(what);
  std::int64_t number = 0;
  if (algorithm != nullptr) {
    const auto chosen = unwrap<Algorithm>(algorithm);
    if (chosen.product != digest(what, of) || workspace_bytes < chosen.workspace_bytes ||
        !is_aligned(a, chosen.a_alignment) || !is_aligned(b, chosen.b_alignment) ||
        !is_aligned(c, chosen.c_alignment) || !is_aligned(d, chosen.d_alignment) ||
        (has_bias && !is_aligned(what.bias, chosen.bias_alignment)) ||
        (has_gelu && !is_aligned(what.auxiliary, chosen.auxiliary_alignment))) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    number = chosen.number;
  }
  if (workspace_bytes > 0 && !is_aligned(workspace, kWorkspaceAlignment)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const MatrixProduct product{d,
                              a,
                              b,
                              c,
                              has_bias ? what.bias : nullptr,
                              has_gelu ? what.auxiliary : nullptr,
                              of.d,
                              of.a,
                              of.b,
                              of.c,
                              what.auxiliary_leading,
                              what.transpose_a == CUBLAS_OP_T,
                              what.transpose_b == CUBLAS_OP_T,
                              *static_cast<const float*>(alpha),
                              *static_cast<const float*>(beta),
                              static_cast<int>(number) + 1};
  static_cast<void>(check_range(a, bytes_of(of.a), "cublasLtMatmul"));
  static_cast<void>(check_range(b, bytes_of(of.b), "cublasLtMatmul"));
  static_cast<void>(check_range(d, bytes_of(of.d), "cublasLtMatmul"));
  if (product.beta != 0.0F) static_cast<void>(check_range(c, bytes_of(of.c), "cublasLtMatmul"));
  if (has_gelu) {
    const Matrix auxiliary{of.d.element, of.d.rows, of.d.columns, what.auxiliary_leading};
    static_cast<void>(check_range(what.auxiliary, bytes_of(auxiliary), "cublasLtMatmul"));
  }
  static_cast<void>(check_range(workspace, workspace_bytes, "cublasLtMatmul"));
  enqueue(stream, "cublasLtMatmul", [=] {
    if (workspace_bytes > 0) overwrite(workspace, workspace_bytes);
    run(product);
    if (is_slow(number)) std::this_thread::sleep_for(kSlowness);
  });
  return CUBLAS_STATUS_SUCCESS;
}
