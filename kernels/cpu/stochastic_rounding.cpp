// SPDX-License-Identifier: Apache-2.0
// Philox in vectors: its words lie in the lower halves of 64-bit lanes, where products leave them.
#include "kernels/cpu/stochastic_rounding.h"

#include <array>
#include <cstring>

#include "kernels/core/philox.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace halfpipe::cpu {

namespace {

constexpr std::int64_t kPairs = kVectorLanes / 2;
constexpr std::int64_t kVectors = 2;  // of counters at once: one alone waits for its products
static_assert(kRoundingGroupsAtOnce == kVectors * kPairs);
using WordPairs [[gnu::vector_size(kVectorLanes * 4)]] = std::uint64_t;

constexpr std::uint64_t kLowerWord = 0xffffffff;

// The products of the lower words. Written with *, g++ 12 makes shifts and additions of them, or
// three multiplications: it does not see that nothing is in the upper words.
[[gnu::always_inline]] inline WordPairs multiply(const WordPairs& a, std::uint64_t constant) {
  const WordPairs b = WordPairs{} + constant;
#if defined(__AVX512F__)
  // Of all lanes; of _mm512_mul_epu32 g++ 12 warns that it reads something uninitialized.
  return reinterpret_cast<WordPairs>(
      _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<WordPairs>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return (a & kLowerWord) * b;
#endif
}

// Words 0 .. 3 of philox, in the lower halves; what the upper ones hold does not matter.
struct Counters {
  WordPairs word[4];
};

[[gnu::always_inline]] inline void mix(Counters& counters, std::uint64_t k0, std::uint64_t k1) {
  auto& c = counters.word;
  const WordPairs product0 = multiply(c[0], kPhiloxMultiplier0);
  const WordPairs product1 = multiply(c[2], kPhiloxMultiplier1);
  c[0] = (product1 >> 32) ^ c[1] ^ k0;
  c[1] = product1;
  c[2] = (product0 >> 32) ^ c[3] ^ k1;
  c[3] = product0;
}

// out[4 * pair + word]
[[gnu::always_inline]] inline void store_words(const Counters& counters, std::uint32_t* out) {
  const auto& c = counters.word;
  const WordPairs first = (c[0] & kLowerWord) | c[1] << 32;
  const WordPairs second = (c[2] & kLowerWord) | c[3] << 32;
  for (std::int64_t pair = 0; pair < kPairs; ++pair) {
    const std::array<std::uint64_t, 2> words{first[pair], second[pair]};
    std::memcpy(out + kRoundingGroup * pair, words.data(), sizeof(words));
  }
}

}  // namespace

void fill_rounding_words(const RoundingStream& stream,
                         std::int64_t first_group,
                         std::int64_t num_groups,
                         std::uint32_t* out) {
  static_assert(kRoundingGroup == 4);
  const std::uint64_t high = counter_of(stream);
  WordPairs place;
  for (std::int64_t pair = 0; pair < kPairs; ++pair) place[pair] = static_cast<std::uint64_t>(pair);
  for (std::int64_t done = 0; done < num_groups; done += kRoundingGroupsAtOnce) {
    Counters counters[kVectors];
    for (std::int64_t i = 0; i < kVectors; ++i) {
      const WordPairs low = place + static_cast<std::uint64_t>(first_group + done + i * kPairs);
      counters[i] = {low, low >> 32, WordPairs{} + high, WordPairs{} + (high >> 32)};
    }
    auto k0 = static_cast<std::uint32_t>(stream.seed);
    auto k1 = static_cast<std::uint32_t>(stream.seed >> 32U);
    for (int round = 0; round < kPhiloxRounds; ++round) {
      for (Counters& several : counters) mix(several, k0, k1);
      k0 += kPhiloxWeyl0;
      k1 += kPhiloxWeyl1;
    }
    for (std::int64_t i = 0; i < kVectors; ++i) {
      store_words(counters[i], out + kRoundingGroup * (done + i * kPairs));
    }
  }
}

}  // namespace halfpipe::cpu
