// SPDX-License-Identifier: Apache-2.0
// AdamW on the CPU: one pass over parameter, moments and gradient, limited by memory bandwidth.
#include "kernels/cpu/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/core/align.h"
#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/stochastic_rounding.h"

namespace halfpipe::cpu {

namespace {

// Parameters, and what else is worked on with them, stay in the first-level cache between the
// passes over a chunk: 26 bytes an element with moments in bfloat16.
constexpr std::int64_t kChunk = 1024;

// Elements of AdamW with moments in float32.
struct Chunk {
  float* param;
  float* m;
  float* v;
  const float* grad;
  std::int64_t count;
};

// Scalars are copied out of args: as members they could alias what the loop writes. One body for
// all that is written: a second one inlined could round otherwise.
[[gnu::noinline]] void update(const ops::AdamW& args, const Chunk& chunk) {
  float* param = chunk.param;
  float* m = chunk.m;
  float* v = chunk.v;
  const float* grad = chunk.grad;
  const std::int64_t count = chunk.count;
  const float grad_scale = args.grad_scale;
  const float beta1 = args.beta1;
  const float beta2 = args.beta2;
  const float epsilon = args.epsilon;
  const float decay = args.learning_rate * args.weight_decay;
  const float learning_rate = args.learning_rate;
  const float bias_correction1 = args.bias_correction1;
  const float bias_correction2 = args.bias_correction2;
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = grad[i] * grad_scale;
    const float m_new = beta1 * m[i] + (1.0F - beta1) * g;
    const float v_new = beta2 * v[i] + (1.0F - beta2) * g * g;
    const float direction =
        m_new / bias_correction1 / (std::sqrt(v_new / bias_correction2) + epsilon);
    m[i] = m_new;
    v[i] = v_new;
    param[i] = param[i] - decay * param[i] - learning_rate * direction;
  }
}

// The words of elements first .. first + count - 1 of a parameter, at most kChunk of them. Lanes
// that go beyond the last element find words there, too.
class RoundingWords {
 public:
  RoundingWords(const RoundingStream& stream, std::int64_t first, std::int64_t count)
      : skipped_(first % kRoundingGroup) {
    const std::int64_t num_words = skipped_ + round_up(count, kLanes);
    fill_rounding_words(stream, first / kRoundingGroup,
                        ceil_div(num_words, std::int64_t{kRoundingGroup}), words_.data());
  }
  [[nodiscard]] const std::uint32_t* get() const { return words_.data() + skipped_; }

 private:
  std::int64_t skipped_;
  std::array<std::uint32_t, kChunk + kRoundingGroup * kRoundingGroupsAtOnce> words_;
};

const float* source_of(const ops::AdamW& args) {
  return args.from_or_null != nullptr ? args.from_or_null : args.param;
}

// The moments of elements first .. first + count - 1, at most kChunk of them, are widened, updated
// like any others, and rounded.
void update_rounded(const ops::AdamW& args, std::int64_t first, std::int64_t count) {
  BFloat16* const stored_m = static_cast<BFloat16*>(args.m) + first;
  BFloat16* const stored_v = static_cast<BFloat16*>(args.v) + first;
  std::array<float, kChunk> m;
  std::array<float, kChunk> v;
  convert(stored_m, count, m.data());
  convert(stored_v, count, v.data());
  update(args, {args.param + first, m.data(), v.data(), args.grad + first, count});
  const RoundingWords words(args.rounding, args.first_element + first, count);
  for_each_lanes(0, count, [&](std::int64_t i, auto width) {
    const std::uint32_t* drawn = words.get() + i;
    using enum WordHalf;
    store(stored_m + i, round_stochastically<kLower>(load(m.data() + i, width), drawn), width);
    store(stored_v + i, round_stochastically<kUpper>(load(v.data() + i, width), drawn), width);
  });
}

void load_moments(
    const ops::AdamW& args, std::int64_t first, std::int64_t count, float* m, float* v) {
  if (args.moment_dtype == DType::kBFloat16) {
    convert(static_cast<const BFloat16*>(args.m) + first, count, m);
    convert(static_cast<const BFloat16*>(args.v) + first, count, v);
  } else {
    std::copy_n(static_cast<const float*>(args.m) + first, count, m);
    std::copy_n(static_cast<const float*>(args.v) + first, count, v);
  }
}

// Of elements first .. first + count - 1, at most kChunk of them: a step that is only shown.
void show(const ops::AdamW& args, std::int64_t first, std::int64_t count) {
  std::array<float, kChunk> param;
  std::array<float, kChunk> m;
  std::array<float, kChunk> v;
  std::copy_n(source_of(args) + first, count, param.data());
  load_moments(args, first, count, m.data(), v.data());
  update(args, {param.data(), m.data(), v.data(), args.grad + first, count});
  if (args.writes == ops::AdamWWrites::kParam) {
    std::copy_n(param.data(), count, args.param + first);
  }
  if (args.copy_or_null != nullptr) convert(param.data(), count, args.copy_or_null + first);
}

void step(const ops::AdamW& args, std::int64_t first, std::int64_t count) {
  if (args.from_or_null != nullptr) {
    std::copy_n(args.from_or_null + first, count, args.param + first);
  }
  if (args.moment_dtype == DType::kBFloat16) {
    update_rounded(args, first, count);
  } else {
    update(args, {args.param + first, static_cast<float*>(args.m) + first,
                  static_cast<float*>(args.v) + first, args.grad + first, count});
  }
  if (args.copy_or_null != nullptr) {
    convert(args.param + first, count, args.copy_or_null + first);
  }
}

}  // namespace

void adamw(const ops::AdamW& args, ThreadPool& pool) {
  for_each_element_block(pool, args.count, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += kChunk) {
      const std::int64_t count = std::min(kChunk, end - first);
      if (args.writes == ops::AdamWWrites::kAll) {
        step(args, first, count);
      } else {
        show(args, first, count);
      }
    }
  });
}

void adamw_pieces(std::span<const ops::AdamW> pieces, ThreadPool& pool) {
  for (const ops::AdamW& args : pieces) adamw(args, pool);
}

}  // namespace halfpipe::cpu
