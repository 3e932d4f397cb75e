// SPDX-License-Identifier: Apache-2.0
// Token plus position embedding on the CPU.
#include "kernels/cpu/embedding.h"

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

namespace {

// dst[begin .. end) += src[begin .. end)
void add_columns(float* dst, const float* src, std::int64_t begin, std::int64_t end) {
  for (std::int64_t c = begin; c < end; c += kLanes) {
    store(dst + c, load(dst + c, end - c) + load(src + c, end - c), end - c);
  }
}

}  // namespace

void embedding_forward(const ops::EmbeddingForward& args, ThreadPool& pool) {
  const std::int64_t C = args.C;
  for_each_row_block(pool, args.B * args.T, C, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* token = args.token_table + args.tokens[row] * C;
      const float* position = args.position_table + (args.first_position + row % args.T) * C;
      for (std::int64_t c = 0; c < C; c += kLanes) {
        store(args.out + row * C + c, load(token + c, C - c) + load(position + c, C - c), C - c);
      }
    }
  });
}

// Every task walks all tokens in order for its own columns: equal tokens meet in order without
// sorting, and no two tasks write one address.
void embedding_backward_weight(const ops::EmbeddingBackwardWeight& args, ThreadPool& pool) {
  const std::int64_t N = args.B * args.T;
  const std::int64_t C = args.C;
  for_each_column_block(pool, N, C, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = 0; row < N; ++row) {
      const float* dout = args.dout + row * C;
      add_columns(args.dtoken_table + args.tokens[row] * C, dout, begin, end);
      add_columns(args.dposition_table + row % args.T * C, dout, begin, end);
    }
  });
}

}  // namespace halfpipe::cpu
