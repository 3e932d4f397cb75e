// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the GPU: a block per row, with an online softmax (Milakov and
// Gimelshein 2018, arXiv:1805.02867) on the way in and the gradient on the way out. As much of the
// row as fits stays in shared memory in between.
//
// The target's logit is left out of the sum and joins it at the end, so that the digits of 1 - p
// and of log p survive where p is near 1.
#include "kernels/cuda/cross_entropy.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/element_group.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {

namespace {

constexpr int kThreads = 512;
constexpr int kVectorsTogether = 4;               // of a thread, read before the first is used
constexpr std::size_t kStaticSharedBytes = 1024;  // at most, of this kernel

// exp(x) within the precision of T: 1 ulp of float32, or |x| ulp of it, which is plenty where the
// result is rounded to bfloat16.
template <typename T>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return expf(x);
  } else {
    constexpr float kLog2E = 1.44269504F;
    return exp2f(x * kLog2E);
  }
}

// sum_v exp(x_v - largest) over some logits. largest is finite while it is of none but -inf: exp of
// -inf minus it is 0, not NaN. A NaN passes the maximum by and shows in the sum.
struct PartialSoftmax {
  float largest = -FLT_MAX;
  float sum = 0.0F;

  template <typename T, int kWidth>
  __device__ __forceinline__ void add(const float (&x)[kWidth]) {
    float of_group = x[0];
#pragma unroll
    for (int i = 1; i < kWidth; ++i) of_group = fmaxf(of_group, x[i]);
    if (of_group > largest) {
      sum *= exponential<T>(largest - of_group);
      largest = of_group;
    }
    float group_sum = 0.0F;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) group_sum += exponential<T>(x[i] - largest);
    sum += group_sum;
  }
};

// A row as 16-byte vectors, with fewer elements than one fills before the first and after the last:
// rows of 50,257 logits begin anywhere. A thread has at most one of those single elements. T may be
// const.
template <typename T>
struct Row {
  static constexpr int kWidth = kPerVector<T>;
  T* vectors;
  int num_vectors;
  std::int64_t single;  // index in the row, -1 for none
  int head;             // elements before the first vector

  __device__ __forceinline__ Row(T* row, std::int64_t V) {
    const auto address = reinterpret_cast<std::uintptr_t>(row);
    const std::uintptr_t boundary = (address + 15) / 16 * 16;
    const auto to_boundary = static_cast<int>((boundary - address) / sizeof(T));
    head = to_boundary < V ? to_boundary : static_cast<int>(V);
    vectors = row + head;
    num_vectors = static_cast<int>((V - head) / kWidth);
    const int singles = static_cast<int>(V - std::int64_t{num_vectors} * kWidth);
    const int thread = static_cast<int>(threadIdx.x);
    single = thread >= singles ? -1 : thread < head ? thread : V - singles + thread;
  }
};

// The first pass over vectors first, first + kThreads, ...: kCount of them. The element that is
// `target` elements behind the first vector is left out; those that fit are kept.
template <int kCount, typename OfRow, typename T>
__device__ __forceinline__ void add_vectors(const Row<OfRow>& row,
                                            int first,
                                            std::int64_t target,
                                            T* kept,
                                            int num_kept,
                                            PartialSoftmax& softmax) {
  float x[kCount][Row<T>::kWidth];
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    load_vector(x[k], row.vectors + std::int64_t{first + k * kThreads} * Row<T>::kWidth);
  }
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const int v = first + k * kThreads;
    if (v < num_kept) store_vector(kept + v * Row<T>::kWidth, x[k]);
    const std::int64_t place = target - std::int64_t{v} * Row<T>::kWidth;
    if (place >= 0 && place < Row<T>::kWidth) {
#pragma unroll
      for (int i = 0; i < Row<T>::kWidth; ++i) x[k][i] = i == place ? -INFINITY : x[k][i];
    }
    softmax.template add<T>(x[k]);
  }
}

// What the threads of a block know of the row after the first pass, in the same units: exp(x -
// shift).
struct RowSoftmax {
  float shift;
  float of_target;
  float rest;  // the sum without the target
};

template <typename T>
__device__ __forceinline__ RowSoftmax combine(const PartialSoftmax& mine, float target_logit) {
  constexpr int kWarps = kThreads / kWarpSize;
  __shared__ float largest_of_warp[kWarps];
  __shared__ float partial[kWarps];
  const float of_warp = warp_max(mine.largest);
  if (threadIdx.x % kWarpSize == 0) largest_of_warp[threadIdx.x / kWarpSize] = of_warp;
  __syncthreads();
  float shift = target_logit;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) shift = fmaxf(shift, largest_of_warp[warp]);
  const float sum = mine.sum * exponential<float>(mine.largest - shift);
  return {shift, exponential<float>(target_logit - shift), block_sum<kThreads>(sum, partial)};
}

// The second pass, as the first. Elements are read from where they are: shared memory or the row.
template <int kCount, typename T>
__device__ __forceinline__ void write_vectors(
    const Row<T>& row, int first, const T* kept, int num_kept, float shift, float factor) {
  float x[kCount][Row<T>::kWidth];
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const int v = first + k * kThreads;
    load_vector(x[k], (v < num_kept ? kept : row.vectors) + std::int64_t{v} * Row<T>::kWidth);
  }
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
#pragma unroll
    for (int i = 0; i < Row<T>::kWidth; ++i) {
      x[k][i] = factor * exponential<T>(x[k][i] - shift);
    }
    store_vector(row.vectors + std::int64_t{first + k * kThreads} * Row<T>::kWidth, x[k]);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_kernel(ops::CrossEntropy a, int most_kept) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  T* kept = reinterpret_cast<T*>(shared);
  const std::int64_t n = blockIdx.x;
  T* logits = static_cast<T*>(a.logits) + n * a.V;
  const Row<T> row(logits, a.V);
  const std::int64_t target = a.targets[n];
  const float target_logit = load_float(logits + target);
  const float single = row.single >= 0 ? load_float(logits + row.single) : 0.0F;
  constexpr int kStep = kVectorsTogether * kThreads;

  PartialSoftmax softmax;
  if (row.single >= 0 && row.single != target) softmax.template add<T, 1>({single});
  int v = static_cast<int>(threadIdx.x);
  for (; v + kStep - kThreads < row.num_vectors; v += kStep) {
    add_vectors<kVectorsTogether>(row, v, target - row.head, kept, most_kept, softmax);
  }
  for (; v < row.num_vectors; v += kThreads) {
    add_vectors<1>(row, v, target - row.head, kept, most_kept, softmax);
  }
  const auto [shift, of_target, rest] = combine<T>(softmax, target_logit);

  if (threadIdx.x == 0) {
    const double total = static_cast<double>(rest) + of_target;
    a.losses[n] = static_cast<float>(log(total) + (static_cast<double>(shift) - target_logit));
  }
  if (a.scale == 0.0F) return;

  const float factor = a.scale / (rest + of_target);
  for (v = static_cast<int>(threadIdx.x); v + kStep - kThreads < row.num_vectors; v += kStep) {
    write_vectors<kVectorsTogether>(row, v, kept, most_kept, shift, factor);
  }
  for (; v < row.num_vectors; v += kThreads) {
    write_vectors<1>(row, v, kept, most_kept, shift, factor);
  }
  if (row.single >= 0) {
    store_float(logits + row.single, factor * exponential<T>(single - shift));
  }
  __syncthreads();  // whoever wrote the target's place has done so
  if (threadIdx.x == 0) store_float(logits + target, -a.scale * (rest / (rest + of_target)));
}

// A slice's logits, which this rank shares with no other: no target where another slice has it.
template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_statistics_kernel(ops::CrossEntropyStatistics a) {
  const std::int64_t n = blockIdx.x;
  const T* logits = static_cast<const T*>(a.logits) + n * a.stride;
  const Row<const T> row(logits, a.V);
  const std::int64_t target = a.targets[n] - a.first_id;
  const bool has_target = target >= 0 && target < a.V;
  const float target_logit = has_target ? load_float(logits + target) : -INFINITY;
  constexpr int kStep = kVectorsTogether * kThreads;
  T* const kept = nullptr;

  PartialSoftmax softmax;
  if (row.single >= 0 && row.single != target) {
    softmax.template add<T, 1>({load_float(logits + row.single)});
  }
  int v = static_cast<int>(threadIdx.x);
  for (; v + kStep - kThreads < row.num_vectors; v += kStep) {
    add_vectors<kVectorsTogether>(row, v, target - row.head, kept, 0, softmax);
  }
  for (; v < row.num_vectors; v += kThreads) {
    add_vectors<1>(row, v, target - row.head, kept, 0, softmax);
  }
  const RowSoftmax of_slice = combine<T>(softmax, target_logit);

  if (threadIdx.x != 0) return;
  const bool has_logits = of_slice.shift > -FLT_MAX || of_slice.rest != 0.0F;
  float* statistics = a.statistics + n * 3;
  statistics[0] = has_logits ? of_slice.shift : -INFINITY;
  statistics[1] = of_slice.rest;
  statistics[2] = target_logit;
}

// The row's softmax from the statistics of all slices; every thread of every rank computes the
// same.
__device__ __forceinline__ RowSoftmax combine_slices(const float* statistics,
                                                     std::int64_t num_slices,
                                                     std::int64_t row_stride,
                                                     float& target_logit) {
  target_logit = -INFINITY;
  float shift = -FLT_MAX;
  for (std::int64_t k = 0; k < num_slices; ++k) {
    const float of_slice = statistics[k * row_stride + 2];
    if (of_slice != -INFINITY) target_logit = of_slice;  // a NaN is one, too
    shift = fmaxf(shift, fmaxf(statistics[k * row_stride], of_slice));
  }
  float rest = 0.0F;
  for (std::int64_t k = 0; k < num_slices; ++k) {
    const float* of_slice = statistics + k * row_stride;
    rest += of_slice[1] * exponential<float>(of_slice[0] - shift);
  }
  return {shift, exponential<float>(target_logit - shift), rest};
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_of_slice_kernel(ops::CrossEntropyOfSlice a) {
  const std::int64_t n = blockIdx.x;
  float target_logit;
  const auto [shift, of_target, rest] =
      combine_slices(a.statistics + n * 3, a.num_slices, a.N * 3, target_logit);
  if (threadIdx.x == 0) {
    const double total = static_cast<double>(rest) + of_target;
    a.losses[n] = static_cast<float>(log(total) + (static_cast<double>(shift) - target_logit));
  }
  if (a.scale == 0.0F) return;

  T* logits = static_cast<T*>(a.logits) + n * a.stride;
  const Row<T> row(logits, a.V);
  const float factor = a.scale / (rest + of_target);
  constexpr int kStep = kVectorsTogether * kThreads;
  const T* const kept = row.vectors;
  int v = static_cast<int>(threadIdx.x);
  for (; v + kStep - kThreads < row.num_vectors; v += kStep) {
    write_vectors<kVectorsTogether>(row, v, kept, 0, shift, factor);
  }
  for (; v < row.num_vectors; v += kThreads) write_vectors<1>(row, v, kept, 0, shift, factor);
  if (row.single >= 0) {
    store_float(logits + row.single,
                factor * exponential<T>(load_float(logits + row.single) - shift));
  }
  for (std::int64_t i = a.V + threadIdx.x; i < a.stride; i += kThreads) {
    store_float(logits + i, 0.0F);
  }
  const std::int64_t target = a.targets[n] - a.first_id;
  if (target < 0 || target >= a.V) return;
  __syncthreads();  // whoever wrote the target's place has done so
  if (threadIdx.x == 0) store_float(logits + target, -a.scale * (rest / (rest + of_target)));
}

// Dynamic shared memory that a block of the current device may have.
std::size_t largest_dynamic_shared_bytes() {
  int device = 0;
  int bytes = 0;
  HALFPIPE_CUDA_CHECK(cudaGetDevice(&device));
  HALFPIPE_CUDA_CHECK(
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return static_cast<std::size_t>(bytes) - kStaticSharedBytes;
}

}  // namespace

// -------------------------------------------------------------------------------------------------

void cross_entropy(const ops::CrossEntropy& args, cudaStream_t stream) {
  if (args.N == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    const auto whole_row = static_cast<std::size_t>(args.V / kPerVector<T>) * 16;
    // Evaluation reads every logit once and keeps none.
    const std::size_t shared_bytes =
        args.scale == 0.0F ? 0 : std::min(whole_row, largest_dynamic_shared_bytes() / 16 * 16);
    launch(cross_entropy_kernel<T>, dim3(static_cast<unsigned>(args.N)), dim3(kThreads),
           shared_bytes, stream, args, static_cast<int>(shared_bytes / 16));
  });
}

void cross_entropy_statistics(const ops::CrossEntropyStatistics& args, cudaStream_t stream) {
  if (args.N == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    launch(cross_entropy_statistics_kernel<T>, dim3(static_cast<unsigned>(args.N)), dim3(kThreads),
           0, stream, args);
  });
}

void cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args, cudaStream_t stream) {
  if (args.N == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    launch(cross_entropy_of_slice_kernel<T>, dim3(static_cast<unsigned>(args.N)), dim3(kThreads), 0,
           stream, args);
  });
}

}  // namespace halfpipe::cuda
