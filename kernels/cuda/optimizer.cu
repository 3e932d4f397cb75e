// SPDX-License-Identifier: Apache-2.0
// AdamW on the GPU: one pass over parameter, moments and gradient, limited by memory bandwidth.
#include "kernels/cuda/optimizer.h"

#include <cmath>
#include <type_traits>

#include "kernels/core/align.h"
#include "kernels/core/stochastic_rounding.h"
#include "kernels/cuda/element_loop.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/piece_table.cuh"

namespace halfpipe::cuda {

namespace {

// The random words of elements first, first + 1, ...: of whole groups, or of one element.
template <int kCount>
__device__ __forceinline__ void draw_words(std::uint32_t (&words)[kCount],
                                           const RoundingStream& stream,
                                           std::int64_t first) {
  const std::uint64_t group = static_cast<std::uint64_t>(first) / kRoundingGroup;
  if constexpr (kCount == 1) {
    const auto drawn = rounding_words(stream, group);
    const auto place = static_cast<std::uint32_t>(first) % kRoundingGroup;
    // By comparisons: an array with an index that is not known lies in local memory.
    words[0] = place < 2 ? (place == 0 ? drawn[0] : drawn[1]) : (place == 2 ? drawn[2] : drawn[3]);
  } else {
    static_assert(kCount % kRoundingGroup == 0);
#pragma unroll
    for (int at = 0; at < kCount; at += kRoundingGroup) {
      const auto drawn = rounding_words(stream, group + at / kRoundingGroup);
#pragma unroll
      for (int i = 0; i < kRoundingGroup; ++i) words[at + i] = drawn[i];
    }
  }
}

// What the pieces of a launch have in common.
struct Step {
  std::uint64_t seed;
  std::uint32_t number;
  float learning_rate;
  float beta1;
  float beta2;
  float epsilon;
  float grad_scale;
  float bias_correction1;
  float bias_correction2;

  friend bool operator==(const Step&, const Step&) = default;
};

Step step_of(const ops::AdamW& args) {
  return {args.rounding.seed,   args.rounding.step, args.learning_rate, args.beta1,
          args.beta2,           args.epsilon,       args.grad_scale,    args.bias_correction1,
          args.bias_correction2};
}

// What they have not.
struct Piece {
  float* param;
  void* m;
  void* v;
  const float* grad;
  BFloat16* copy_or_null;
  const float* from;
  std::int64_t count;
  std::int64_t first_element;
  std::uint32_t parameter;
  float weight_decay;
  bool aligned;
};

Piece piece_of(const ops::AdamW& args) {
  const float* const from = args.from_or_null == nullptr ? args.param : args.from_or_null;
  // A thread's elements must be whole groups of the random words, too.
  const bool aligned =
      vector_aligned({args.param, args.m, args.v, args.grad, args.copy_or_null, from}) &&
      args.first_element % kRoundingGroup == 0;
  return {args.param,
          args.m,
          args.v,
          args.grad,
          args.copy_or_null,
          from,
          args.count,
          args.first_element,
          args.rounding.parameter,
          args.weight_decay,
          aligned};
}

using Pieces = PieceTable<Piece, 48>;
static_assert(sizeof(Pieces) + sizeof(Step) <= kParameterBytes);

// One rounding for each operation that is written, so that a step which is only shown has the bits
// of the one that is taken, whatever else is compiled around it.
struct Stepped {
  float param, m, v;
};

__device__ __forceinline__ Stepped
stepped(const Step& step, float weight_decay, float param, float m, float v, float grad) {
  const float g = __fmul_rn(grad, step.grad_scale);
  Stepped next{};
  next.m = fmaf(step.beta1, m, __fmul_rn(1.0F - step.beta1, g));
  next.v = fmaf(step.beta2, v, __fmul_rn(__fmul_rn(1.0F - step.beta2, g), g));
  const float root = __fadd_rn(sqrtf(next.v / step.bias_correction2), step.epsilon);
  const float direction = next.m / step.bias_correction1 / root;
  const float decayed = fmaf(-__fmul_rn(step.learning_rate, weight_decay), param, param);
  next.param = fmaf(-step.learning_rate, direction, decayed);
  return next;
}

template <typename Moment, ops::AdamWWrites kWrites>
struct AdamWLoop {
  static constexpr int kWidth = 8;  // one 16-byte access of bfloat16
  static constexpr int kGroups = 1;
  static constexpr int kInputs = 4;
  const Piece& piece;
  const Step& step;

  template <int kCount>
  __device__ void load(std::int64_t at, float (&operands)[4][kCount]) const {
    load_group(operands[0], piece.from + at);
    load_group(operands[1], static_cast<const Moment*>(piece.m) + at);
    load_group(operands[2], static_cast<const Moment*>(piece.v) + at);
    load_group(operands[3], piece.grad + at);
  }

  template <int kCount>
  __device__ void store(std::int64_t at, const float (&operands)[4][kCount]) const {
    float param[kCount];
    float m[kCount];
    float v[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const Stepped next = stepped(step, piece.weight_decay, operands[0][i], operands[1][i],
                                   operands[2][i], operands[3][i]);
      param[i] = next.param;
      m[i] = next.m;
      v[i] = next.v;
    }
    using enum ops::AdamWWrites;
    if constexpr (kWrites == kAll) {
      if constexpr (std::is_same_v<Moment, BFloat16>) round(at, m, v);
      store_group(static_cast<Moment*>(piece.m) + at, m);
      store_group(static_cast<Moment*>(piece.v) + at, v);
    }
    if constexpr (kWrites != kCopy) store_group(piece.param + at, param);
    if (piece.copy_or_null != nullptr) store_group(piece.copy_or_null + at, param);
  }

  // To what bfloat16 has, so that storing changes nothing more.
  template <int kCount>
  __device__ void round(std::int64_t at, float (&m)[kCount], float (&v)[kCount]) const {
    std::uint32_t words[kCount];
    const RoundingStream stream{step.seed, piece.parameter, step.number};
    draw_words(words, stream, piece.first_element + at);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      m[i] = to_float(round_stochastically(m[i], words[i] & 0xffffU));
      v[i] = to_float(round_stochastically(v[i], words[i] >> 16));
    }
  }
};

// Of up to 64 registers a thread. Left to itself, ptxas spills in order to reach five.
constexpr int kBlocksPerSm = 4;

template <typename Moment, ops::AdamWWrites kWrites>
__global__ void __launch_bounds__(kElementLoopThreads, kBlocksPerSm)
    adamw_kernel(const __grid_constant__ Pieces pieces, const __grid_constant__ Step step) {
  const int at = piece_of_block(pieces, blockIdx.x);
  const AdamWLoop<Moment, kWrites> loop{pieces.pieces[at], step};
  element_loop_block_of_any(loop, blockIdx.x - pieces.first_block[at], loop.piece.count,
                            loop.piece.aligned);
}

// What a kernel is chosen by.
struct Kind {
  DType moment_dtype;
  ops::AdamWWrites writes;

  friend bool operator==(const Kind&, const Kind&) = default;
};

// Blocks of every kernel are as long.
using AnyLoop = AdamWLoop<float, ops::AdamWWrites::kAll>;

void enqueue(const Pieces& pieces, const Step& step, const Kind& kind, cudaStream_t stream) {
  with_element_type(kind.moment_dtype, [&]<typename Moment>() {
    const auto with = [&](auto kernel) {
      launch(kernel, dim3(pieces.num_blocks), dim3(kElementLoopThreads), 0, stream, pieces, step);
    };
    using enum ops::AdamWWrites;
    switch (kind.writes) {
      case kAll:
        return with(adamw_kernel<Moment, kAll>);
      case kParam:
        return with(adamw_kernel<Moment, kParam>);
      case kCopy:
        return with(adamw_kernel<Moment, kCopy>);
    }
  });
}

}  // namespace

// -------------------------------------------------------------------------------------------------

void adamw_pieces(std::span<const ops::AdamW> pieces, cudaStream_t stream) {
  Pieces together;
  Step step{};
  Kind kind{};
  const auto enqueue_them = [&] {
    if (together.num_pieces > 0) enqueue(together, step, kind, stream);
    together.clear();
  };
  for (const ops::AdamW& args : pieces) {
    if (args.count == 0) continue;
    const Step own_step = step_of(args);
    const Kind own_kind{args.moment_dtype, args.writes};
    if (together.is_full() || own_step != step || own_kind != kind) enqueue_them();
    step = own_step;
    kind = own_kind;
    together.add(piece_of(args), ceil_div(args.count, kElementLoopBlock<AnyLoop>));
  }
  enqueue_them();
}

}  // namespace halfpipe::cuda
