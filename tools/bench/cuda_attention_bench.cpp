// SPDX-License-Identifier: Apache-2.0
// Speed of causal attention in bfloat16 on a GPU, by our kernels and by cuDNN where it is there,
// after a check against the float32 kernels on the same inputs, which the tests hold against
// float64. Causal: operations of half the square count.
// Usage: cuda_attention_bench
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"
#include "kernels/core/error.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cudnn_attention.h"

namespace halfpipe::cuda {
namespace {

using ops::AttentionDims;

constexpr int kWarmup = 5;
constexpr int kRuns = 20;
constexpr int kInputs = 3;           // used in turn, so that no run finds its own in the L2 cache
constexpr double kTolerance = 5e-3;  // of norms; see tests/kernels/cuda/attention_test.cpp

class DeviceArray {
 public:
  explicit DeviceArray(std::size_t bytes) : bytes_(bytes) {
    HALFPIPE_CUDA_CHECK(cudaMalloc(&memory_, bytes));
  }
  DeviceArray(DeviceArray&& other) noexcept
      : bytes_(other.bytes_), memory_(std::exchange(other.memory_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&&) = delete;
  ~DeviceArray() { warn_on_cuda_error(cudaFree(memory_), "cudaFree"); }

  [[nodiscard]] void* get() const { return memory_; }

  template <typename T>
  void write(const std::vector<T>& values) const {
    HALFPIPE_CUDA_CHECK(
        cudaMemcpy(memory_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  template <typename T>
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> values(bytes_ / sizeof(T));
    HALFPIPE_CUDA_CHECK(cudaMemcpy(values.data(), memory_, bytes_, cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  std::size_t bytes_;
  void* memory_ = nullptr;
};

/// Sums of four uniform values, of variance 1: close enough to normal.
std::vector<BFloat16> random_elements(std::size_t count, std::uint64_t seed) {
  std::vector<BFloat16> values(count);
  std::uint64_t state = seed;
  for (BFloat16& value : values) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    float sum = 0.0F;
    for (int i = 0; i < 4; ++i) {
      sum += static_cast<float>((state >> (8 + 14 * i)) & 0x3fffU) / 16384.0F - 0.5F;
    }
    value = to_bfloat16(sum * std::sqrt(3.0F));
  }
  return values;
}

std::vector<float> widened(const std::vector<BFloat16>& values) {
  std::vector<float> result;
  result.reserve(values.size());
  for (const BFloat16 value : values) result.push_back(to_float(value));
  return result;
}

std::size_t scratch_bytes(const AttentionDims& dims, DType dtype, bool by_cudnn) {
  if (by_cudnn) {
    return std::max(cudnn_attention_forward_scratch_bytes(dims),
                    cudnn_attention_backward_scratch_bytes(dims));
  }
  return std::max(attention_forward_scratch_bytes(dims, dtype),
                  attention_backward_scratch_bytes(dims, dtype));
}

/// The operands of forward and backward; dqkv apart from qkv, so that runs can be repeated.
struct Operands {
  AttentionDims dims;
  DType dtype;
  CudnnAttention* cudnn_or_null;  // null: ours
  std::size_t count = static_cast<std::size_t>(dims.B * dims.T * dims.NH * dims.HS);
  DeviceArray qkv{3 * count * size_of(dtype)};
  DeviceArray dqkv{3 * count * size_of(dtype)};
  DeviceArray out{count * size_of(dtype)};
  DeviceArray dout{count * size_of(dtype)};
  DeviceArray lse{static_cast<std::size_t>(dims.B * dims.NH * dims.T) * sizeof(float)};
  DeviceArray scratch{scratch_bytes(dims, dtype, cudnn_or_null != nullptr)};

  Operands(const AttentionDims& dims_of_all, DType dtype_of_all, CudnnAttention* cudnn)
      : dims(dims_of_all), dtype(dtype_of_all), cudnn_or_null(cudnn) {}

  void forward() const {
    const ops::AttentionForward args{
        out.get(), static_cast<float*>(lse.get()), qkv.get(), dims, scratch.get(), dtype};
    if (cudnn_or_null != nullptr) return cudnn_or_null->forward(args, nullptr);
    attention_forward(args, nullptr);
  }
  void backward() const {
    const ops::AttentionBackwardInput args{
        dqkv.get(), dout.get(),    qkv.get(), out.get(), static_cast<const float*>(lse.get()),
        dims,       scratch.get(), dtype};
    if (cudnn_or_null != nullptr) return cudnn_or_null->backward_input(args, nullptr);
    attention_backward_input(args, nullptr);
  }
};

double normalised_error(const std::vector<float>& actual, const std::vector<float>& expected) {
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    difference += std::pow(double{actual[i]} - double{expected[i]}, 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

/// One sequence; also that a second run gives the same bits. Prints what it found.
bool is_correct(AttentionDims dims, CudnnAttention* cudnn_or_null) {
  dims.B = 1;
  const Operands actual(dims, DType::kBFloat16, cudnn_or_null);
  const Operands expected(dims, DType::kFloat32, nullptr);
  const std::vector<BFloat16> qkv = random_elements(3 * actual.count, 1);
  const std::vector<BFloat16> dout = random_elements(actual.count, 2);
  actual.qkv.write(qkv);
  actual.dout.write(dout);
  expected.qkv.write(widened(qkv));
  expected.dout.write(widened(dout));
  expected.forward();
  expected.backward();
  actual.forward();
  actual.backward();
  const std::vector<BFloat16> out = actual.out.read<BFloat16>();
  const std::vector<BFloat16> dqkv = actual.dqkv.read<BFloat16>();
  const double out_error = normalised_error(widened(out), expected.out.read<float>());
  const double lse_error = normalised_error(actual.lse.read<float>(), expected.lse.read<float>());
  const double dqkv_error = normalised_error(widened(dqkv), expected.dqkv.read<float>());
  actual.forward();
  actual.backward();
  const bool same = out == actual.out.read<BFloat16>() && dqkv == actual.dqkv.read<BFloat16>();
  std::printf("  errors: out %.1e, lse %.1e, dqkv %.1e; a second run gives %s bits\n", out_error,
              lse_error, dqkv_error, same ? "the same" : "OTHER");
  // Written so that NaN fails.
  return out_error < kTolerance && lse_error < 1e-5 && dqkv_error < kTolerance && same;
}

/// Median of kRuns.
template <typename Run>
double milliseconds_of(const Run& run) {
  cudaEvent_t start = nullptr;
  cudaEvent_t stop = nullptr;
  HALFPIPE_CUDA_CHECK(cudaEventCreate(&start));
  HALFPIPE_CUDA_CHECK(cudaEventCreate(&stop));
  std::vector<float> times;
  for (int i = 0; i < kWarmup + kRuns; ++i) {
    HALFPIPE_CUDA_CHECK(cudaEventRecord(start));
    run(i);
    HALFPIPE_CUDA_CHECK(cudaEventRecord(stop));
    HALFPIPE_CUDA_CHECK(cudaEventSynchronize(stop));
    float milliseconds = 0.0F;
    HALFPIPE_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
    if (i >= kWarmup) times.push_back(milliseconds);
  }
  HALFPIPE_CUDA_CHECK(cudaEventDestroy(start));
  HALFPIPE_CUDA_CHECK(cudaEventDestroy(stop));
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

void measure(const AttentionDims& dims, CudnnAttention* cudnn_or_null) {
  std::vector<Operands> inputs;
  for (int i = 0; i < kInputs; ++i) {
    const Operands& added = inputs.emplace_back(dims, DType::kBFloat16, cudnn_or_null);
    const auto seed = static_cast<std::uint64_t>(10 + 2 * i);
    added.qkv.write(random_elements(3 * added.count, seed));
    added.dout.write(random_elements(added.count, seed + 1));
    added.forward();
  }
  const auto input = [&](int i) -> const Operands& {
    return inputs[static_cast<std::size_t>(i % kInputs)];
  };
  const double forward = milliseconds_of([&](int i) { input(i).forward(); });
  const double backward = milliseconds_of([&](int i) { input(i).backward(); });
  // Two products of T^2 / 2 x HS forward, five backward; recomputation is not counted.
  const double product = static_cast<double>(dims.B * dims.NH * dims.T * dims.T * dims.HS);
  std::printf("  forward  %8.3f ms  %6.1f TFLOP/s\n", forward, 2.0 * product / forward * 1e-9);
  std::printf("  backward %8.3f ms  %6.1f TFLOP/s\n", backward, 5.0 * product / backward * 1e-9);
}

/// Both, as far as cuDNN takes the shape.
bool is_correct_and_measured(const AttentionDims& dims) {
  bool correct = is_correct(dims, nullptr);
  measure(dims, nullptr);
  CudnnAttention cudnn;
  try {
    const std::string name = cudnn.prepare(dims, DType::kBFloat16);
    std::printf("  the same by %s\n", name.c_str());
  } catch (const RuntimeFailure& failure) {
    std::printf("  not by cuDNN: %s\n", failure.what());
    return correct;
  }
  correct = is_correct(dims, &cudnn) && correct;
  measure(dims, &cudnn);
  return correct;
}

}  // namespace
}  // namespace halfpipe::cuda

int main() {
  using halfpipe::ops::AttentionDims;
  cudaDeviceProp device{};
  HALFPIPE_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
  std::printf("%s\n", device.name);
  bool correct = true;
  for (const AttentionDims& dims :
       {AttentionDims{4, 4096, 16, 128}, AttentionDims{2, 2048, 25, 64},
        AttentionDims{8, 1024, 12, 64}, AttentionDims{4, 4096, 16, 96}}) {
    std::printf("B %ld T %ld NH %ld HS %ld\n", static_cast<long>(dims.B), static_cast<long>(dims.T),
                static_cast<long>(dims.NH), static_cast<long>(dims.HS));
    correct = halfpipe::cuda::is_correct_and_measured(dims) && correct;
    std::fflush(stdout);
  }
  return correct ? 0 : 1;
}
