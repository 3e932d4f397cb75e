// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/matmul_plan.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "kernels/core/error.h"
#include "kernels/cuda/algorithm_text.h"

namespace halfpipe::cuda {
namespace {

constexpr std::uintptr_t kWidestAccessBytes = 16;

// A sum over K may be split only if its parts are kept as float32 in the workspace and added in a
// separate step: the order is then fixed, and no part is rounded to bfloat16. The in-place scheme
// adds parts into c, the output-type scheme stores them as c's type.
constexpr std::uint32_t kAllowedReductions =
    CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return std::uint32_t{1} << std::countr_zero(address | kWidestAccessBytes);
}

cudaDataType_t cuda_type(DType dtype) {
  return dtype == DType::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

void set(cublasLtMatmulDescOpaque_t& operation,
         cublasLtMatmulDescAttributes_t attribute,
         const auto& value) {
  HALFPIPE_CUBLAS_CHECK(
      cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof(value)));
}

void set(cublasLtMatmulPreferenceOpaque_t& preference,
         cublasLtMatmulPreferenceAttributes_t attribute,
         const auto& value) {
  HALFPIPE_CUBLAS_CHECK(
      cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
}

/// A packed row-major [rows, columns], in cuBLASLt's words.
cublasLtMatrixLayoutOpaque_t row_major(cudaDataType_t type,
                                       std::int64_t rows,
                                       std::int64_t columns) {
  cublasLtMatrixLayoutOpaque_t layout{};
  HALFPIPE_CUBLAS_CHECK(cublasLtMatrixLayoutInit(&layout, type, static_cast<std::uint64_t>(columns),
                                                 static_cast<std::uint64_t>(rows), columns));
  return layout;
}

cublasLtEpilogue_t epilogue_of(const MatmulKind& kind) {
  if (kind.has_gelu) {
    return kind.has_bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  }
  return kind.has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

cublasLtMatmulPreferenceOpaque_t preference_for(const MatmulKind& kind) {
  cublasLtMatmulPreferenceOpaque_t preference{};
  HALFPIPE_CUBLAS_CHECK(cublasLtMatmulPreferenceInit(&preference));
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kMatmulWorkspaceBytes});
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kAllowedReductions);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, kind.b_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, kind.a_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, kind.c_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, kind.c_alignment);
  return preference;
}

[[noreturn]] void throw_no_algorithm(const MatmulKind& kind, cublasStatus_t status) {
  throw RuntimeFailure(fmt::format("cuBLASLt has no algorithm for the product {}: {}",
                                   name_of(kind), cublasLtGetStatusString(status)));
}

/// For questions about a kind: of bias and pre-activation, cuBLASLt reads only how their addresses
/// are aligned (cublasLt.h).
cublasLtMatmulDescOpaque_t describe_without_operands(const MatmulKind& kind) {
  alignas(2 * kWidestAccessBytes) static const std::byte place[2 * kWidestAccessBytes]{};
  return describe(kind, place + kind.bias_alignment, place + kind.c_alignment);
}

MatmulPlan lay_out(const MatmulKind& kind) {
  const cudaDataType_t type = cuda_type(kind.dtype);
  return {.a = kind.transpose_a ? row_major(type, kind.K, kind.M) : row_major(type, kind.M, kind.K),
          .b = kind.transpose_b ? row_major(type, kind.N, kind.K) : row_major(type, kind.K, kind.N),
          .c = row_major(kind.accumulate ? CUDA_R_32F : type, kind.M, kind.N),
          .algorithm = {}};
}

/// The chosen algorithm, when the library takes it and it does with the workspace that there is.
cublasLtMatmulAlgo_t check_choice(cublasLtHandle_t handle,
                                  const MatmulKind& kind,
                                  MatmulPlan& plan,
                                  const device::TunedChoice& choice) {
  const cublasLtMatmulAlgo_t algorithm = algorithm_from_text(choice.algorithm);
  cublasLtMatmulDescOpaque_t operation = describe_without_operands(kind);
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(handle, &operation, &plan.b, &plan.a,
                                                        &plan.c, &plan.c, &algorithm, &result);
  if (status != CUBLAS_STATUS_SUCCESS || result.workspaceSize > kMatmulWorkspaceBytes) {
    throw RuntimeFailure(fmt::format(
        "cuBLASLt refuses the algorithm that was chosen for the product {}: {}", name_of(kind),
        status != CUBLAS_STATUS_SUCCESS ? cublasLtGetStatusString(status) : "too much workspace"));
  }
  return algorithm;
}

}  // namespace

MatmulKind kind_of(const ops::Matmul& args) {
  const bool has_bias = args.bias_or_null != nullptr;
  return {.M = args.M,
          .N = args.N,
          .K = args.K,
          .dtype = args.dtype,
          .transpose_a = args.transpose_a,
          .transpose_b = args.transpose_b,
          .accumulate = args.accumulate,
          .has_bias = has_bias,
          .has_gelu = args.pre_activation_or_null != nullptr,
          .a_alignment = alignment_of(args.a),
          .b_alignment = alignment_of(args.b),
          .c_alignment = std::min({alignment_of(args.c), alignment_of(args.residual_or_null),
                                   alignment_of(args.pre_activation_or_null)}),
          .bias_alignment = alignment_of(args.bias_or_null)};
}

std::string name_of(const MatmulKind& kind) {
  return fmt::format("{} [{} x {}{}] [{} x {}{}]{}{}{}, aligned to {}, {}, {}, {} bytes",
                     name_of(kind.dtype), kind.M, kind.K, kind.transpose_a ? ", transposed" : "",
                     kind.K, kind.N, kind.transpose_b ? ", transposed" : "",
                     kind.has_bias ? " with bias" : "", kind.has_gelu ? " with GELU" : "",
                     kind.accumulate ? " added to float32" : "", kind.a_alignment, kind.b_alignment,
                     kind.c_alignment, kind.bias_alignment);
}

cublasLtMatmulDescOpaque_t describe(const MatmulKind& kind,
                                    const void* bias_or_null,
                                    const void* pre_activation_or_null) {
  cublasLtMatmulDescOpaque_t operation{};
  // Not the TF32 types: float32 products keep all bits of their operands.
  HALFPIPE_CUBLAS_CHECK(cublasLtMatmulDescInit(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, kind.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, kind.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(kind));
  if (kind.has_bias) set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias_or_null);
  if (kind.has_gelu) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, pre_activation_or_null);
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, kind.N);
  }
  return operation;
}

std::vector<cublasLtMatmulAlgo_t> find_algorithms(cublasLtHandle_t handle,
                                                  const MatmulKind& kind,
                                                  MatmulPlan& plan,
                                                  int most) {
  cublasLtMatmulDescOpaque_t operation = describe_without_operands(kind);
  cublasLtMatmulPreferenceOpaque_t preference = preference_for(kind);
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<std::size_t>(most));
  int num_found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, &operation, &plan.b, &plan.a, &plan.c, &plan.c,
                                     &preference, most, found.data(), &num_found);
  if (status != CUBLAS_STATUS_SUCCESS) throw_no_algorithm(kind, status);
  found.resize(static_cast<std::size_t>(num_found));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (const cublasLtMatmulHeuristicResult_t& each : found) {
    if (each.state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(each.algo);
  }
  if (algorithms.empty()) {
    throw_no_algorithm(kind, found.empty() ? CUBLAS_STATUS_NOT_SUPPORTED : found.front().state);
  }
  return algorithms;
}

MatmulPlan& MatmulPlans::plan_for(const MatmulKind& kind) {
  const std::lock_guard lock(mutex_);
  const auto found = plans_.find(kind);
  if (found != plans_.end()) return found->second;
  if (!handle_) handle_.emplace();
  MatmulPlan plan = lay_out(kind);
  const auto choice = choices_.find(name_of(kind));
  plan.algorithm = choice == choices_.end()
                       ? find_algorithms(handle_->get(), kind, plan, /*most=*/1).front()
                       : check_choice(handle_->get(), kind, plan, choice->second);
  return plans_.emplace(kind, plan).first->second;
}

void MatmulPlans::use(device::TunedChoices choices) {
  const std::lock_guard lock(mutex_);
  choices_ = std::move(choices);
  plans_.clear();
}

device::TunedChoices MatmulPlans::choices() const {
  const std::lock_guard lock(mutex_);
  return choices_;
}

bool MatmulPlans::wants_measurement(const MatmulKind& kind) const {
  if (!measuring_) return false;
  const std::lock_guard lock(mutex_);
  return !choices_.contains(name_of(kind));
}

void MatmulPlans::choose(const MatmulKind& kind, const device::TunedChoice& choice) {
  const std::lock_guard lock(mutex_);
  choices_[name_of(kind)] = choice;
  plans_.erase(kind);
}

}  // namespace halfpipe::cuda
