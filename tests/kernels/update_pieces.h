// SPDX-License-Identifier: Apache-2.0
// Lists of pieces for AdamW and for sums of squares, on any backend: odd sizes, empty and unaligned
// ones, more than a GPU takes in one launch, each with numbers of its own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/core/dtype.h"
#include "kernels/ops/optimizer.h"
#include "kernels/ops/reduction.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/moments_in_bfloat16.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::testing {

/// Elements begin .. begin + count - 1 of arrays that all pieces share, with a gap behind each.
struct PieceShape {
  std::int64_t begin;  // a multiple of 16, or one more: then nothing is aligned
  std::int64_t count;
  std::int64_t first_element;
};

/// Around a block of a kernel, then small ones: 130 in all, every eighth of the small ones empty.
inline std::vector<PieceShape> piece_shapes() {
  std::vector<PieceShape> shapes;
  std::int64_t end = 0;
  const auto add = [&](std::int64_t count, std::int64_t offset, std::int64_t first_element) {
    shapes.push_back({round_up<std::int64_t>(end + 1, 16) + offset, count, first_element});
    end = shapes.back().begin + count;
  };
  add(1, 0, 0);
  add(3, 1, 0);
  add(17, 0, 4);
  add(0, 0, 0);
  add(2048, 0, 8);
  add(2049, 0, 0);
  add(2047, 1, 0);
  add(4097, 0, 16387);
  add(16389, 0, 16384);
  add(2048, 1, 4);
  add(6000, 0, 2);
  for (std::int64_t i = 0; shapes.size() < 130; ++i) add(i % 8 * 5, i % 3 == 0 ? 1 : 0, i % 5);
  return shapes;
}

/// Of arrays that hold them all.
inline std::int64_t elements_of_pieces() {
  const PieceShape last = piece_shapes().back();
  return last.begin + last.count + 16;
}

struct AdamWListCase {
  DType moments = DType::kFloat32;
  ops::AdamWWrites writes = ops::AdamWWrites::kAll;
  bool from_elsewhere = false;  // p is read from where param is not
  bool differs = false;         // what a step gives all pieces is not the same for them
};

/// All that a step touches, gaps included.
struct AdamWResults {
  std::vector<float> param, m, v, copy;
};

inline void expect_same_bits(const AdamWResults& actual, const AdamWResults& expected) {
  EXPECT_TRUE(same_bits(actual.param, expected.param));
  EXPECT_TRUE(same_bits(actual.m, expected.m));
  EXPECT_TRUE(same_bits(actual.v, expected.v));
  EXPECT_TRUE(same_bits(actual.copy, expected.copy));
}

/// Moments, both positive, that bfloat16 has: those of both types begin alike.
inline std::vector<float> moments_before(std::string_view name) {
  auto values = representable(random_values(name, elements_of_pieces()), DType::kBFloat16);
  for (float& value : values) value = std::abs(value);
  return values;
}

inline AdamWResults before_a_step() {
  return {.param = random_values("param", elements_of_pieces()),
          .m = moments_before("m"),
          .v = moments_before("v"),
          .copy = std::vector<float>(static_cast<std::size_t>(elements_of_pieces()), -1.0F)};
}

/// Nothing for every other change, so that each member by itself sets two neighbours apart.
inline void make_different(ops::AdamW& args, std::uint32_t change) {
  float* const members[] = {&args.learning_rate,   &args.beta1,      &args.beta2,
                            &args.epsilon,         &args.grad_scale, &args.bias_correction1,
                            &args.bias_correction2};
  constexpr std::uint32_t kMembers = 7;
  if (change % 2 == 1) return;
  const std::uint32_t which = change / 2 % (kMembers + 3);
  if (which < kMembers) *members[which] *= 0.75F;
  if (which == kMembers) args.rounding.seed = 6;
  if (which == kMembers + 1) args.rounding.step = 3;
  if (which == kMembers + 2) args.writes = ops::AdamWWrites::kParam;
}

/// Array(dtype, values) owns elements between guards; get() and values() are theirs.
template <typename Array>
class AdamWList {
 public:
  explicit AdamWList(const AdamWListCase& tested)
      : before_(before_a_step()),
        param_(DType::kFloat32, tested.from_elsewhere ? before_.copy : before_.param),
        m_(tested.moments, before_.m),
        v_(tested.moments, before_.v),
        grad_(DType::kFloat32, random_values("grad", elements_of_pieces())),
        copy_(DType::kBFloat16, before_.copy),
        from_(DType::kFloat32, before_.param) {
    for (const PieceShape& shape : piece_shapes()) pieces_.push_back(piece(tested, shape));
  }

  [[nodiscard]] std::span<const ops::AdamW> pieces() const { return pieces_; }
  [[nodiscard]] AdamWResults results() const {
    return {param_.values(), m_.values(), v_.values(), copy_.values()};
  }

 private:
  [[nodiscard]] ops::AdamW piece(const AdamWListCase& tested, const PieceShape& shape) const {
    const auto at = [&](const Array& array, DType dtype) {
      return static_cast<std::byte*>(array.get()) +
             static_cast<std::size_t>(shape.begin) * size_of(dtype);
    };
    const auto floats = [&](const Array& array) {
      return reinterpret_cast<float*>(at(array, DType::kFloat32));
    };
    const auto index = static_cast<std::uint32_t>(pieces_.size());
    ops::AdamW args{.param = floats(param_),
                    .m = at(m_, tested.moments),
                    .v = at(v_, tested.moments),
                    .grad = floats(grad_),
                    .count = shape.count,
                    .learning_rate = 0.02F,
                    .beta1 = 0.9F,
                    .beta2 = 0.95F,
                    .epsilon = 1e-8F,
                    .weight_decay = index % 2 == 1 ? 0.1F : 0.0F,
                    .grad_scale = 0.5F,
                    .bias_correction1 = static_cast<float>(1.0 - std::pow(double{0.9F}, 2)),
                    .bias_correction2 = static_cast<float>(1.0 - std::pow(double{0.95F}, 2)),
                    .moment_dtype = tested.moments,
                    .rounding = {.seed = 5, .parameter = index, .step = 2},
                    .first_element = shape.first_element,
                    .writes = tested.writes};
    if (index % 7 != 0) {
      args.copy_or_null = reinterpret_cast<BFloat16*>(at(copy_, DType::kBFloat16));
    }
    if (tested.from_elsewhere) args.from_or_null = floats(from_);
    if (tested.differs) make_different(args, index / 3);
    return args;
  }

  AdamWResults before_;
  Array param_, m_, v_, grad_, copy_, from_;
  std::vector<ops::AdamW> pieces_;
};

/// What run(pieces) makes of a new list.
template <typename Array, typename Run>
AdamWResults results_of(const AdamWListCase& tested, const Run& run) {
  const AdamWList<Array> list(tested);
  run(list.pieces());
  return list.results();
}

/// run(pieces): the list. One of them by itself is run({&piece, 1}).
template <typename Array, typename Run>
void expect_pieces_as_by_themselves(const AdamWListCase& tested, const Run& run) {
  expect_same_bits(results_of<Array>(tested, run),
                   results_of<Array>(tested, [&](std::span<const ops::AdamW> pieces) {
                     for (const ops::AdamW& piece : pieces) run({&piece, 1});
                   }));
}

template <typename Array, typename Run>
void expect_pieces_of_reference(const Run& run) {
  const AdamWResults before = before_a_step();
  const std::vector<float> grad = random_values("grad", elements_of_pieces());
  reference::Values param = to_float64(before.param);
  reference::Values m = to_float64(before.m);
  reference::Values v = to_float64(before.v);
  const AdamWList<Array> list({});
  for (std::size_t i = 0; i < list.pieces().size(); ++i) {
    const ops::AdamW& args = list.pieces()[i];
    const std::int64_t begin = piece_shapes()[i].begin;
    const auto part = [&](const auto& values) {
      return reference::Values(values.begin() + begin, values.begin() + begin + args.count);
    };
    reference::AdamWState state{part(param), part(m), part(v)};
    reference::adamw(state, part(grad),
                     {args.learning_rate, args.beta1, args.beta2, args.epsilon, args.weight_decay,
                      args.grad_scale},
                     /*step=*/2);
    std::ranges::copy(state.param, param.begin() + begin);
    std::ranges::copy(state.m, m.begin() + begin);
    std::ranges::copy(state.v, v.begin() + begin);
  }
  run(list.pieces());
  const AdamWResults actual = list.results();
  // A few float32 roundings (6e-8 each). One wrong element of 40,000 makes 1e-4 and more.
  EXPECT_TRUE(near_reference(actual.param, param, 5e-7));
  EXPECT_TRUE(near_reference(actual.m, m, 5e-7));
  EXPECT_TRUE(near_reference(actual.v, v, 5e-7));
  AdamWResults copied = actual;
  copied.copy = before.copy;
  for (std::size_t i = 0; i < list.pieces().size(); ++i) {
    if (list.pieces()[i].copy_or_null == nullptr) continue;
    const auto [begin, count, first_element] = piece_shapes()[i];
    const std::vector<float> own(actual.param.begin() + begin,
                                 actual.param.begin() + begin + count);
    std::ranges::copy(representable(own, DType::kBFloat16), copied.copy.begin() + begin);
  }
  expect_same_bits(actual, copied);
}

/// Moments in bfloat16 are those in float32, rounded with the words of each piece.
template <typename Array, typename Run>
void expect_moments_rounded_by_piece(const Run& run) {
  AdamWResults expected = results_of<Array>({}, run);
  const AdamWList<Array> list({.moments = DType::kBFloat16});
  for (std::size_t i = 0; i < list.pieces().size(); ++i) {
    const ops::AdamW& args = list.pieces()[i];
    const std::int64_t begin = piece_shapes()[i].begin;
    const auto round = [&](std::vector<float>& moment, const auto& kept) {
      const auto first = moment.begin() + begin;
      const std::vector<float> part(first, first + args.count);
      std::ranges::copy(to_float32(kept(part, args.rounding, args.first_element)), first);
    };
    round(expected.m, kept_first_moment);
    round(expected.v, kept_second_moment);
  }
  run(list.pieces());
  expect_same_bits(list.results(), expected);
}

}  // namespace halfpipe::testing
