// SPDX-License-Identifier: Apache-2.0
// Which way attention multiplies. The build decides: both ends of a job have the same program, and
// ways differ in bits.
#include "kernels/cpu/attention.h"

#include "kernels/cpu/attention_float32.h"
#include "kernels/cpu/attention_pairs.h"
#include "kernels/cpu/bfloat16_pairs.h"

namespace halfpipe::cpu {

bool attention_multiplies_pairs(const ops::AttentionDims& dims, DType dtype) {
  return kMultipliesPairs && dtype == DType::kBFloat16 && dims.HS % 2 == 0;
}

void attention_forward(const ops::AttentionForward& args, ThreadPool& pool) {
  if (attention_multiplies_pairs(args.dims, args.dtype)) {
    attention_forward_pairs(args, pool);
  } else {
    attention_forward_float32(args, pool);
  }
}

std::size_t attention_forward_scratch_bytes(const ops::AttentionDims& dims,
                                            DType dtype,
                                            const ThreadPool& pool) {
  return attention_multiplies_pairs(dims, dtype)
             ? attention_forward_pairs_scratch_bytes(dims, dtype, pool)
             : attention_forward_float32_scratch_bytes(dims, dtype, pool);
}

void attention_backward_input(const ops::AttentionBackwardInput& args, ThreadPool& pool) {
  if (attention_multiplies_pairs(args.dims, args.dtype)) {
    attention_backward_input_pairs(args, pool);
  } else {
    attention_backward_input_float32(args, pool);
  }
}

std::size_t attention_backward_scratch_bytes(const ops::AttentionDims& dims,
                                             DType dtype,
                                             const ThreadPool& pool) {
  return attention_multiplies_pairs(dims, dtype)
             ? attention_backward_pairs_scratch_bytes(dims, dtype, pool)
             : attention_backward_float32_scratch_bytes(dims, dtype, pool);
}

}  // namespace halfpipe::cpu
