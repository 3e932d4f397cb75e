// SPDX-License-Identifier: Apache-2.0
// Causal attention of kernels/cuda against the float64 reference, on a GPU or emulated; by cuDNN
// too, where there is one, or its graphs computed on the host.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/core/error.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn_attention.h"
#include "tests/kernels/attention_reference.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cuda {
namespace {

using ops::AttentionDims;
using testing::near_reference;
using testing::random_values;
using testing::same_bits;
using testing::to_float64;

/// Device memory between two guards, at first all NaN. The guards are checked when it goes.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes) : bytes_(bytes) {
    EXPECT_EQ(cudaMalloc(&memory_, bytes_ + 2 * kGuard), cudaSuccess);
    EXPECT_EQ(cudaMemset(memory_, 0xff, bytes_ + 2 * kGuard), cudaSuccess);
  }
  ~DeviceBytes() {
    std::vector<unsigned char> all(bytes_ + 2 * kGuard);
    EXPECT_EQ(cudaMemcpy(all.data(), memory_, all.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    for (std::size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(all[i], 0xff) << "a kernel wrote before its operand of " << bytes_ << " bytes";
      EXPECT_EQ(all[kGuard + bytes_ + i], 0xff) << "a kernel wrote behind " << bytes_ << " bytes";
    }
    EXPECT_EQ(cudaFree(memory_), cudaSuccess);
  }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  [[nodiscard]] void* get() const { return static_cast<char*>(memory_) + kGuard; }

  void write(const void* source) const {
    EXPECT_EQ(cudaMemcpy(get(), source, bytes_, cudaMemcpyHostToDevice), cudaSuccess);
  }
  void read(void* target) const {
    EXPECT_EQ(cudaMemcpy(target, get(), bytes_, cudaMemcpyDeviceToHost), cudaSuccess);
  }

 private:
  static constexpr std::size_t kGuard = 256;

  std::size_t bytes_;
  void* memory_ = nullptr;
};

/// A tensor of float32 or bfloat16 on the device; on the host its values are float32.
class DeviceTensor {
 public:
  DeviceTensor(std::int64_t count, DType dtype)
      : count_(static_cast<std::size_t>(count)), dtype_(dtype), bytes_(count_ * size_of(dtype)) {}
  DeviceTensor(const std::vector<float>& values, DType dtype)
      : DeviceTensor(static_cast<std::int64_t>(values.size()), dtype) {
    if (dtype_ == DType::kFloat32) {
      bytes_.write(values.data());
      return;
    }
    std::vector<BFloat16> rounded;
    for (const float value : values) rounded.push_back(to_bfloat16(value));
    bytes_.write(rounded.data());
  }

  [[nodiscard]] void* get() const { return bytes_.get(); }
  [[nodiscard]] float* floats() const { return static_cast<float*>(bytes_.get()); }

  [[nodiscard]] std::vector<float> values() const {
    std::vector<float> result(count_);
    if (dtype_ == DType::kFloat32) {
      bytes_.read(result.data());
      return result;
    }
    std::vector<BFloat16> rounded(count_);
    bytes_.read(rounded.data());
    for (std::size_t i = 0; i < count_; ++i) result[i] = to_float(rounded[i]);
    return result;
  }

 private:
  std::size_t count_;
  DType dtype_;
  DeviceBytes bytes_;
};

/// As the device sees them.
std::vector<float> rounded_to(DType dtype, std::vector<float> values) {
  if (dtype == DType::kFloat32) return values;
  for (float& value : values) value = to_float(to_bfloat16(value));
  return values;
}

struct Case {
  DType dtype;
  AttentionDims dims;
  double deviation = 1.0;  // of qkv; scores have its square
  bool by_cudnn = false;
};

std::ostream& operator<<(std::ostream& stream, const Case& c) {
  return stream << name_of(c.dtype) << " B" << c.dims.B << " T" << c.dims.T << " NH" << c.dims.NH
                << " HS" << c.dims.HS << " deviation " << c.deviation
                << (c.by_cudnn ? " by cuDNN" : "");
}

/// Of norms. In bfloat16 a rounding is 2^-9 at most and 1.1e-3 as a norm: one of the probabilities
/// (which the float32 kernels leave out) and one of the result. In float32, roundings of two
/// products and of exp of scores up to 10.
double forward_tolerance(const Case& c) {
  return c.dtype == DType::kBFloat16 ? 2.5e-3 : 1e-6;
}
/// Backward has, besides, the gradients of scores rounded once more, and dp - delta with what
/// rounding out has left in delta.
double backward_tolerance(const Case& c) {
  return c.dtype == DType::kBFloat16 ? 4e-3 : 3e-6;
}
/// lse is float32 in either case. An ulp of scores of the size s moves it by 6e-8 s.
constexpr double kLseTolerance = 1e-6;

struct Forward {
  std::vector<float> out;
  std::vector<float> lse;
};

class AttentionOf : public ::testing::TestWithParam<Case> {
 protected:
  AttentionDims dims = GetParam().dims;
  DType dtype = GetParam().dtype;
  std::int64_t count = dims.B * dims.T * dims.NH * dims.HS;
  std::vector<float> qkv = rounded_to(dtype, random_values("qkv", 3 * count, GetParam().deviation));
  std::vector<float> dout = rounded_to(dtype, random_values("dout", count));
  bool by_cudnn = GetParam().by_cudnn;

  void SetUp() override {
    if (!by_cudnn) return;
    try {
      (void)cudnn().prepare(dims, dtype);
    } catch (const RuntimeFailure& failure) {
      GTEST_SKIP() << failure.what();
    }
  }

  Forward forward() const {
    const DeviceTensor qkv_tensor(qkv, dtype);
    const DeviceTensor out(count, dtype);
    const DeviceTensor lse(dims.B * dims.NH * dims.T, DType::kFloat32);
    const DeviceBytes scratch(by_cudnn ? cudnn_attention_forward_scratch_bytes(dims)
                                       : attention_forward_scratch_bytes(dims, dtype));
    const ops::AttentionForward args{out.get(), lse.floats(),  qkv_tensor.get(),
                                     dims,      scratch.get(), dtype};
    if (by_cudnn) {
      cudnn().forward(args, nullptr);
    } else {
      attention_forward(args, nullptr);
    }
    return {out.values(), lse.values()};
  }

  /// dqkv
  std::vector<float> backward(const Forward& saved, bool in_place) const {
    const DeviceTensor qkv_tensor(qkv, dtype);
    const DeviceTensor dout_tensor(dout, dtype);
    const DeviceTensor out(saved.out, dtype);
    const DeviceTensor lse(saved.lse, DType::kFloat32);
    const DeviceTensor separate(3 * count, dtype);
    const DeviceTensor& dqkv = in_place ? qkv_tensor : separate;
    const DeviceBytes scratch(by_cudnn ? cudnn_attention_backward_scratch_bytes(dims)
                                       : attention_backward_scratch_bytes(dims, dtype));
    const ops::AttentionBackwardInput args{dqkv.get(),       dout_tensor.get(),
                                           qkv_tensor.get(), out.get(),
                                           lse.floats(),     dims,
                                           scratch.get(),    dtype};
    if (by_cudnn) {
      cudnn().backward_input(args, nullptr);
    } else {
      attention_backward_input(args, nullptr);
    }
    return dqkv.values();
  }

 private:
  /// One for all tests, since a context is not made in a moment, and never destroyed: the CUDA
  /// runtime may be gone before.
  static CudnnAttention& cudnn() {
    static CudnnAttention& shared = *new CudnnAttention;
    return shared;
  }
};

TEST_P(AttentionOf, ForwardIsNearTheReference) {
  const Forward actual = forward();
  const reference::AttentionResult expected = reference::attention(to_float64(qkv), dims);
  EXPECT_TRUE(near_reference(actual.out, expected.out, forward_tolerance(GetParam())));
  EXPECT_TRUE(near_reference(actual.lse, expected.lse, kLseTolerance));
}

TEST_P(AttentionOf, BackwardIsNearTheReference) {
  const std::vector<double> expected =
      reference::attention_backward(to_float64(dout), to_float64(qkv), dims);
  EXPECT_TRUE(near_reference(backward(forward(), false), expected, backward_tolerance(GetParam())));
}

TEST_P(AttentionOf, GivesTheSameBitsAgainAndInPlace) {
  const Forward once = forward();
  const Forward again = forward();
  EXPECT_TRUE(same_bits(once.out, again.out));
  EXPECT_TRUE(same_bits(once.lse, again.lse));
  const std::vector<float> gradients = backward(once, false);
  EXPECT_TRUE(same_bits(gradients, backward(once, false)));
  EXPECT_TRUE(same_bits(gradients, backward(once, true)));
}

/// Sequences that end before, at and behind the ends of tiles.
std::vector<Case> cases_of(DType dtype, std::int64_t HS) {
  std::vector<Case> cases;
  for (const std::int64_t T : {1, 5, 63, 64, 65, 130, 200}) {
    cases.push_back({dtype, {2, T, 2, HS}});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(BFloat16Heads64,
                         AttentionOf,
                         ::testing::ValuesIn(cases_of(DType::kBFloat16, 64)));
INSTANTIATE_TEST_SUITE_P(BFloat16Heads96,
                         AttentionOf,
                         ::testing::ValuesIn(cases_of(DType::kBFloat16, 96)));
INSTANTIATE_TEST_SUITE_P(BFloat16Heads128,
                         AttentionOf,
                         ::testing::ValuesIn(cases_of(DType::kBFloat16, 128)));
// Sums of dq over three and more blocks of keys.
INSTANTIATE_TEST_SUITE_P(BFloat16Long,
                         AttentionOf,
                         ::testing::Values(Case{DType::kBFloat16, {1, 385, 1, 64}},
                                           Case{DType::kBFloat16, {1, 300, 1, 96}},
                                           Case{DType::kBFloat16, {1, 330, 1, 128}}));
INSTANTIATE_TEST_SUITE_P(BFloat16OddHeads,
                         AttentionOf,
                         ::testing::Values(Case{DType::kBFloat16, {2, 1, 2, 17}},
                                           Case{DType::kBFloat16, {2, 65, 3, 17}},
                                           Case{DType::kBFloat16, {1, 130, 2, 40}},
                                           Case{DType::kBFloat16, {1, 33, 2, 160}},
                                           Case{DType::kBFloat16, {1, 70, 1, 256}}));
INSTANTIATE_TEST_SUITE_P(Float32,
                         AttentionOf,
                         ::testing::Values(Case{DType::kFloat32, {2, 1, 2, 16}},
                                           Case{DType::kFloat32, {2, 5, 3, 17}},
                                           Case{DType::kFloat32, {1, 130, 2, 40}},
                                           Case{DType::kFloat32, {2, 63, 2, 64}},
                                           Case{DType::kFloat32, {1, 96, 1, 96}},
                                           Case{DType::kFloat32, {2, 65, 2, 128}},
                                           Case{DType::kFloat32, {1, 70, 1, 256}}));

INSTANTIATE_TEST_SUITE_P(ByCudnn,
                         AttentionOf,
                         ::testing::Values(Case{DType::kBFloat16, {2, 2, 2, 64}, 1.0, true},
                                           Case{DType::kBFloat16, {2, 64, 2, 64}, 1.0, true},
                                           Case{DType::kBFloat16, {2, 65, 3, 64}, 1.0, true},
                                           Case{DType::kBFloat16, {1, 130, 2, 128}, 1.0, true},
                                           Case{DType::kBFloat16, {1, 200, 2, 96}, 1.0, true},
                                           Case{DType::kBFloat16, {2, 70, 2, 40}, 1.0, true},
                                           Case{DType::kBFloat16, {1, 256, 1, 128}, 1.0, true}));

class AttentionOfLargeScores : public AttentionOf {};

// Scores of thousands: a row's exponentials overflow unless its maximum is taken out, and float32
// scores are off by up to 1e-3, which is an error of that size in a probability. Most rows have one
// probability near 1, where dp - delta is no more than what rounding out to bfloat16 has left.
TEST_P(AttentionOfLargeScores, AreFiniteAndNearTheReference) {
  const Forward actual = forward();
  const reference::AttentionResult expected = reference::attention(to_float64(qkv), dims);
  EXPECT_TRUE(near_reference(actual.out, expected.out, 4e-3));
  EXPECT_TRUE(near_reference(actual.lse, expected.lse, kLseTolerance));
  const std::vector<double> gradients =
      reference::attention_backward(to_float64(dout), to_float64(qkv), dims);
  EXPECT_TRUE(
      near_reference(backward(actual, false), gradients, dtype == DType::kBFloat16 ? 3e-2 : 3e-3));
}

INSTANTIATE_TEST_SUITE_P(BothTypes,
                         AttentionOfLargeScores,
                         ::testing::Values(Case{DType::kBFloat16, {1, 200, 2, 64}, 30.0},
                                           Case{DType::kBFloat16, {1, 200, 2, 128}, 30.0},
                                           Case{DType::kBFloat16, {1, 70, 2, 40}, 30.0},
                                           Case{DType::kFloat32, {1, 70, 2, 64}, 30.0},
                                           Case{DType::kBFloat16, {1, 200, 2, 64}, 30.0, true}));

TEST(Attention, RefusesLargerHeads) {
  EXPECT_THROW(attention_forward({nullptr, nullptr, nullptr, {1, 1, 1, 257}, nullptr}, nullptr),
               InternalError);
}

TEST(Attention, DoesNothingWithoutPositions) {
  attention_forward({nullptr, nullptr, nullptr, {2, 0, 2, 64}, nullptr}, nullptr);
  attention_backward_input({nullptr, nullptr, nullptr, nullptr, nullptr, {2, 0, 2, 64}, nullptr},
                           nullptr);
}

TEST(CudnnAttentionRefusals, AreOfWhatNoEngineTakes) {
  EXPECT_EQ(why_never_by_cudnn({1, 16, 2, 64}, DType::kBFloat16), "");
  CudnnAttention cudnn;
  for (const auto& [dims, dtype] : {std::pair{AttentionDims{1, 16, 2, 64}, DType::kFloat32},
                                    std::pair{AttentionDims{1, 1, 2, 64}, DType::kBFloat16},
                                    std::pair{AttentionDims{1, 16, 2, 20}, DType::kBFloat16},
                                    std::pair{AttentionDims{1, 16, 2, 136}, DType::kBFloat16}}) {
    EXPECT_NE(why_never_by_cudnn(dims, dtype), "");
    EXPECT_THROW((void)cudnn.prepare(dims, dtype), RuntimeFailure);
    EXPECT_THROW(cudnn.forward({nullptr, nullptr, nullptr, dims, nullptr, dtype}, nullptr),
                 RuntimeFailure);
  }
}

TEST(CudnnAttentionRefusals, AreNotOfWhatIsEmpty) {
  CudnnAttention cudnn;
  cudnn.forward({nullptr, nullptr, nullptr, {2, 0, 2, 64}, nullptr}, nullptr);
  cudnn.backward_input({nullptr, nullptr, nullptr, nullptr, nullptr, {2, 0, 2, 64}, nullptr},
                       nullptr);
}

class AttentionDecodeOf : public ::testing::TestWithParam<AttentionDims> {};

// The last position of the reference, with a cache that is longer than the sequence and NaN there.
TEST_P(AttentionDecodeOf, IsNearTheReference) {
  const AttentionDims dims = GetParam();
  const std::int64_t C = dims.NH * dims.HS;
  const std::int64_t T_max = dims.T + 3;
  const std::vector<float> qkv = random_values("qkv", dims.B * dims.T * 3 * C);
  std::vector<float> k(static_cast<std::size_t>(dims.B * T_max * C), NAN);
  std::vector<float> v = k;
  std::vector<double> expected;
  const reference::AttentionResult all = reference::attention(to_float64(qkv), dims);
  for (std::int64_t b = 0; b < dims.B; ++b) {
    for (std::int64_t t = 0; t < dims.T; ++t) {
      for (std::int64_t c = 0; c < C; ++c) {
        const auto from = static_cast<std::size_t>((b * dims.T + t) * 3 * C + c);
        const auto to = static_cast<std::size_t>((b * T_max + t) * C + c);
        k[to] = qkv[from + static_cast<std::size_t>(C)];
        v[to] = qkv[from + static_cast<std::size_t>(2 * C)];
      }
    }
    const auto last = static_cast<std::ptrdiff_t>(((b + 1) * dims.T - 1) * C);
    expected.insert(expected.end(), all.out.begin() + last, all.out.begin() + last + C);
  }
  const DeviceTensor qkv_tensor(qkv, DType::kFloat32);
  const DeviceTensor k_tensor(k, DType::kFloat32);
  const DeviceTensor v_tensor(v, DType::kFloat32);
  const DeviceTensor out(dims.B * C, DType::kFloat32);
  attention_decode(
      {out.floats(), qkv_tensor.floats() + (dims.T - 1) * 3 * C, dims.T * 3 * C, k_tensor.floats(),
       v_tensor.floats(), dims.B, T_max, dims.NH, dims.HS, dims.T - 1},
      nullptr);
  EXPECT_TRUE(near_reference(out.values(), expected, 1e-6));
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         AttentionDecodeOf,
                         ::testing::Values(AttentionDims{1, 1, 1, 64},
                                           AttentionDims{2, 5, 3, 17},
                                           AttentionDims{2, 37, 2, 128},
                                           AttentionDims{1, 200, 2, 200}),
                         [](const auto& test) {
                           return "T" + std::to_string(test.param.T) + "HS" +
                                  std::to_string(test.param.HS);
                         });

}  // namespace
}  // namespace halfpipe::cuda
