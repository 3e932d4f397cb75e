// SPDX-License-Identifier: Apache-2.0
// An algorithm of cuBLASLt as text, for files and messages: it may be kept and used again with the
// same version of the library (cuBLAS documentation, cublasLtMatmulAlgo_t).
#pragma once

#include <cublasLt.h>

#include <string>
#include <string_view>

namespace halfpipe::cuda {

[[nodiscard]] std::string to_text(const cublasLtMatmulAlgo_t& algorithm);
/// Throws RuntimeFailure for anything that to_text does not write.
[[nodiscard]] cublasLtMatmulAlgo_t algorithm_from_text(std::string_view text);

}  // namespace halfpipe::cuda
