// SPDX-License-Identifier: Apache-2.0
// Token plus position embedding on the GPU. Contracts: kernels/ops/embedding.h; equal tokens and
// equal positions are added in the order of (b, t), one by one.
//
// Expected on an H100, as a share of the bandwidth of a device copy:
//   forward           85 to 90 % where sequences come by four: a thread has five 16-byte loads on
//                     their way, and a row of the position table is read once for four sequences
//   backward_weight   75 %: dout is read twice, once per table, which is a sixth more than the
//                     share counts, unless the second-level cache has it the second time. Bound by
//                     bandwidth when C is thousands; else by the most frequent token, whose rows
//                     one warp per 32 vectors adds one behind the other, eight of them in flight:
//                     about 0.1 us per occurrence, some 40 us for 5 % of 8192 tokens. Of a training
//                     step that is a thousandth, so no sorted list of tokens in memory is kept to
//                     divide them.
// Measured of former versions, [8, 1024, 1600] in bfloat16: 78 % and 58 %
// (docs/results/2026-11-27-h100.md). Forward had two loads per thread, one of them behind that of
// the token's id; backward_weight took tokens first, one row of the table at a time.
#pragma once

#include <cuda_runtime.h>

#include "kernels/ops/embedding.h"

namespace halfpipe::cuda {

void embedding_forward(const ops::EmbeddingForward& args, cudaStream_t stream);
void embedding_backward_weight(const ops::EmbeddingBackwardWeight& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
