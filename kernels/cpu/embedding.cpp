// SPDX-License-Identifier: Apache-2.0
// Token plus position embedding on the CPU.
#include "kernels/cpu/embedding.h"

#include <algorithm>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

namespace {

bool contains(const ops::TokenIds& ids, std::int32_t token) {
  return token >= ids.begin && token < ids.end;
}

template <typename T>
void forward_row(const ops::EmbeddingForward& args, std::int64_t row) {
  const std::int64_t C = args.C;
  T* out = static_cast<T*>(args.out) + row * C;
  const T* token = nullptr;
  if (contains(args.ids, args.tokens[row])) {
    token = static_cast<const T*>(args.token_table) + (args.tokens[row] - args.ids.begin) * C;
  }
  const T* position = nullptr;
  if (args.position_table != nullptr) {
    position =
        static_cast<const T*>(args.position_table) + (args.first_position + row % args.T) * C;
  }
  if (token != nullptr && position != nullptr) {
    for_each_lanes(0, C, [&](std::int64_t c, auto width) {
      store(out + c, load(token + c, width) + load(position + c, width), width);
    });
  } else if (token != nullptr || position != nullptr) {
    std::copy_n(token != nullptr ? token : position, C, out);
  } else {
    std::fill_n(out, C, T{});
  }
}

// dst[begin .. end) += src[begin .. end)
template <typename T>
void add_columns(float* dst, const T* src, std::int64_t begin, std::int64_t end) {
  for_each_lanes(begin, end, [&](std::int64_t c, auto width) {
    store(dst + c, load(dst + c, width) + load(src + c, width), width);
  });
}

}  // namespace

void embedding_forward(const ops::EmbeddingForward& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_row_block(pool, args.B * args.T, args.C, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) forward_row<T>(args, row);
    });
  });
}

// Every task walks all tokens in order for its own columns: equal tokens meet in order without
// sorting, and no two tasks write one address.
void embedding_backward_weight(const ops::EmbeddingBackwardWeight& args, ThreadPool& pool) {
  const std::int64_t N = args.B * args.T;
  const std::int64_t C = args.C;
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_column_block(pool, N, C, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = 0; row < N; ++row) {
        const T* dout = static_cast<const T*>(args.dout) + row * C;
        if (contains(args.ids, args.tokens[row])) {
          const std::int64_t id = args.tokens[row] - args.ids.begin;
          add_columns(args.dtoken_table + id * C, dout, begin, end);
        }
        add_columns(args.dposition_table + row % args.T * C, dout, begin, end);
      }
    });
  });
}

}  // namespace halfpipe::cpu
