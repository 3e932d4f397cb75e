// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order: squares in float64 for the gradient norm, element-wise accumulation,
// sums over rows for bias gradients, and sums of the parts that tensor ranks have.
#include "kernels/cuda/reduction.h"

#include "kernels/core/align.h"
#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/element_loop.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/piece_table.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {

namespace {

constexpr int kSquareThreads = 256;
constexpr int kSquareWidth = kPerVector<float>;
constexpr std::int64_t kSquareStride = std::int64_t{kSquareThreads} * kSquareWidth;
// Elements of one block of sum_of_squares: at 1.5e9 parameters there are 92,000 block sums.
constexpr std::int64_t kSquaresPerBlock = 16 * kSquareStride;
static_assert(ops::kSquaresCut % kSquaresPerBlock == 0);

// The sum over all threads of a block of kThreads, in every thread.
template <int kThreads>
__device__ __forceinline__ double block_sum_float64(double value, double* partial) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  if (threadIdx.x % kWarpSize == 0) partial[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  double total = 0.0;
  for (int warp = 0; warp < kThreads / kWarpSize; ++warp) total += partial[warp];
  return total;
}

__device__ __forceinline__ double square(float x) {
  const double value = x;
  return value * value;
}

struct SquaresPiece {
  double* out;
  const float* x;
  std::int64_t count;
  bool aligned;
};

using SquaresPieces = PieceTable<SquaresPiece, 112>;
static_assert(sizeof(SquaresPieces) <= kParameterBytes);

// A thread adds groups of four elements, kSquareStride apart, whichever way they are loaded.
__global__ void __launch_bounds__(kSquareThreads)
    sum_of_squares_kernel(const __grid_constant__ SquaresPieces pieces) {
  __shared__ double partial[kSquareThreads / kWarpSize];
  const int at = piece_of_block(pieces, blockIdx.x);
  const auto [out, x, count, aligned] = pieces.pieces[at];
  const std::int64_t block = blockIdx.x - pieces.first_block[at];
  const std::int64_t block_begin = block * kSquaresPerBlock;
  const std::int64_t begin = block_begin + std::int64_t{threadIdx.x} * kSquareWidth;
  double total = 0.0;
  if (aligned && block_begin + kSquaresPerBlock <= count) {
#pragma unroll 8
    for (std::int64_t i = 0; i < kSquaresPerBlock; i += kSquareStride) {
      float group[kSquareWidth];
      load_vector(group, x + begin + i);
#pragma unroll
      for (int k = 0; k < kSquareWidth; ++k) total += square(group[k]);
    }
  } else {
    for (std::int64_t i = 0; i < kSquaresPerBlock; i += kSquareStride) {
      for (int k = 0; k < kSquareWidth; ++k) {
        if (begin + i + k < count) total += square(x[begin + i + k]);
      }
    }
  }
  total = block_sum_float64<kSquareThreads>(total, partial);
  if (threadIdx.x == 0) out[block] = total;
}

struct AccumulateLoop {
  static constexpr int kWidth = kPerVector<float>;
  static constexpr int kGroups = 2;
  static constexpr int kInputs = 2;
  float* dst;
  const float* src;

  template <int kCount>
  __device__ void load(std::int64_t at, float (&operands)[2][kCount]) const {
    load_group(operands[0], dst + at);
    load_group(operands[1], src + at);
  }
  template <int kCount>
  __device__ void store(std::int64_t at, const float (&operands)[2][kCount]) const {
    float result[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) result[i] = operands[0][i] + operands[1][i];
    store_group(dst + at, result);
  }
};

struct RoundToBFloat16Loop {
  static constexpr int kWidth = kPerVector<BFloat16>;
  static constexpr int kGroups = 2;
  static constexpr int kInputs = 1;
  BFloat16* dst;
  const float* src;

  template <int kCount>
  __device__ void load(std::int64_t at, float (&operands)[1][kCount]) const {
    load_group(operands[0], src + at);
  }
  template <int kCount>
  __device__ void store(std::int64_t at, const float (&operands)[1][kCount]) const {
    store_group(dst + at, operands[0]);
  }
};

template <typename T, int kColumnsOfThread>
struct RowTerms {
  using Element = T;
  static constexpr int kWidth = kColumnsOfThread;
  static constexpr int kSums = 1;
  static constexpr int kBlocksPerSm = 6;
  struct Row {
    float x[kWidth];
  };
  const T* x;
  std::int64_t C;

  __device__ __forceinline__ void load(std::int64_t n, std::int64_t c, Row& row) const {
    load_group(row.x, x + n * C + c);
  }
  __device__ __forceinline__ void add(const Row& row, float (&sums)[kSums][kWidth]) const {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sums[0][i] += row.x[i];
  }
};

template <typename T, int kWidth>
void column_sum_by_width(const ops::ColumnSum& args, cudaStream_t stream) {
  const RowTerms<T, kWidth> terms{static_cast<const T*>(args.x), args.C};
  add_column_sums(terms, {{args.dst}}, args.N, args.C, args.scratch, stream);
}

constexpr int kSumPartsRows = 8;  // of a block, a warp each

// A thread has one group of columns of one row, and reads kPartsTogether parts of it before the
// first is added.
template <typename T, int kWidth, int kPartsTogether>
__global__ void __launch_bounds__(kSumPartsRows* kWarpSize, 3) sum_parts_kernel(ops::SumParts a) {
  const std::int64_t n = std::int64_t{blockIdx.x} * kSumPartsRows + threadIdx.y;
  const std::int64_t c = (std::int64_t{blockIdx.y} * kWarpSize + threadIdx.x) * kWidth;
  if (n >= a.N || c >= a.C) return;
  const std::int64_t at = n * a.C + c;
  const auto load_part = [&](std::int64_t k, float(&part)[kWidth]) {
    const T* parts = static_cast<const T*>(a.parts) + k * a.N * a.C;
    load_group(part, (k == a.own_index ? static_cast<const T*>(a.own) : parts) + at);
  };
  const bool has_bias = a.bias_or_null != nullptr;
  const bool has_residual = a.residual_or_null != nullptr;
  float bias[kWidth];
  float residual[kWidth];
  float sum[kWidth];
  load_group_if(has_bias, bias, static_cast<const T*>(a.bias_or_null) + c);
  load_group_if(has_residual, residual, static_cast<const T*>(a.residual_or_null) + at);
  load_part(0, sum);
#pragma unroll 1
  for (std::int64_t first = 1; first < a.num_parts; first += kPartsTogether) {
    float part[kPartsTogether][kWidth];
#pragma unroll
    for (int k = 0; k < kPartsTogether; ++k) {
      // Past the last part that one again, so that no load waits for a branch.
      load_part(first + k < a.num_parts ? first + k : a.num_parts - 1, part[k]);
    }
#pragma unroll
    for (int k = 0; k < kPartsTogether; ++k) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        if (first + k < a.num_parts) sum[i] += part[k][i];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    if (has_bias) sum[i] += bias[i];
    if (has_residual) sum[i] += residual[i];
  }
  store_group(static_cast<T*>(a.out) + at, sum);
}

template <typename T, int kWidth>
void sum_parts_by_width(const ops::SumParts& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(args.N, kSumPartsRows)),
                  static_cast<unsigned>(ceil_div<std::int64_t>(args.C, kWarpSize * kWidth)));
  // Two, four or more ranks: the first part is read with the loop's first ones.
  const auto kernel =
      args.num_parts <= 2 ? sum_parts_kernel<T, kWidth, 1> : sum_parts_kernel<T, kWidth, 3>;
  launch(kernel, grid, dim3(kWarpSize, kSumPartsRows), 0, stream, args);
}

}  // namespace

// -------------------------------------------------------------------------------------------------

std::int64_t num_square_blocks(std::int64_t count) {
  return ceil_div(count, kSquaresPerBlock);
}

void sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces, cudaStream_t stream) {
  SquaresPieces together;
  const auto enqueue_them = [&] {
    if (together.num_pieces == 0) return;
    launch(sum_of_squares_kernel, dim3(together.num_blocks), dim3(kSquareThreads), 0, stream,
           together);
    together.clear();
  };
  for (const ops::SumOfSquares& args : pieces) {
    if (args.count == 0) continue;
    if (together.is_full()) enqueue_them();
    together.add({args.out, args.x, args.count, vector_aligned({args.x})},
                 num_square_blocks(args.count));
  }
  enqueue_them();
}

void accumulate(const ops::Accumulate& args, cudaStream_t stream) {
  for_each_element(AccumulateLoop{args.dst, args.src}, args.count,
                   vector_aligned({args.dst, args.src}), stream);
}

void column_sum(const ops::ColumnSum& args, cudaStream_t stream) {
  with_element_type(args.dtype, [&]<typename T>() {
    if (rows_keep_alignment<T>(args.C) && vector_aligned({args.x})) {
      column_sum_by_width<T, kPerVector<T>>(args, stream);
    } else {
      column_sum_by_width<T, 1>(args, stream);
    }
  });
}

std::size_t column_sum_scratch_bytes(const ops::ColumnSum& args) {
  std::size_t bytes = 0;
  with_element_type(args.dtype, [&]<typename T>() {
    bytes = column_sums_scratch_bytes<T, RowTerms<T, 1>::kSums>(args.N, args.C);
  });
  return bytes;
}

void sum_parts(const ops::SumParts& args, cudaStream_t stream) {
  if (args.N == 0 || args.C == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    if (rows_keep_alignment<T>(args.C) &&
        vector_aligned(
            {args.out, args.parts, args.own, args.bias_or_null, args.residual_or_null})) {
      sum_parts_by_width<T, kPerVector<T>>(args, stream);
    } else {
      sum_parts_by_width<T, 1>(args, stream);
    }
  });
}

void round_to_bfloat16(const ops::RoundToBFloat16& args, cudaStream_t stream) {
  for_each_element(RoundToBFloat16Loop{args.dst, args.src}, args.count,
                   vector_aligned({args.dst, args.src}), stream);
}

}  // namespace halfpipe::cuda
