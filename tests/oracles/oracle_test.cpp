// SPDX-License-Identifier: Apache-2.0
// The engine against PyTorch in float64: logits, losses, gradients, and parameters after AdamW
// steps, on every fixture and on more than one layout of ranks. make_fixtures.py says what the
// fixtures hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "engine/model/decoder.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/oracles/training_record.h"

namespace halfpipe::oracles {
namespace {

// ||a - b|| / ||b|| per tensor. float32 holds 6e-8; the engine comes to 7e-7 here.
constexpr double kTolerance = 1e-5;
// The exact gradient of the keys' bias is zero: it adds the same number to every score of a query,
// which softmax does not see. What float32 leaves is rounding noise, so it is compared absolutely.
constexpr double kKeyBiasGradientTolerance = 1e-6;
// Adam divides that noise by its own size plus epsilon, which turns it into a visible part of the
// learning rate: as a fraction of that. make_fixtures.py keeps the noise small enough.
constexpr double kKeyBiasStepTolerance = 1e-2;

constexpr const char* kFixtures[] = {"tied_bias", "untied_bias", "tied_no_bias", "untied_no_bias"};

Fixture open_fixture(const std::string& name) {
  return Fixture(HALFPIPE_ORACLE_DIR, name);
}

/// ||a - b|| / ||b||; a tensor that is zero throughout must be matched exactly.
double relative_error(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return HUGE_VAL;
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  if (difference == 0.0) return 0.0;
  return std::sqrt(difference / norm);  // infinite where the norm is zero
}

double largest_difference(std::span<const float> actual, std::span<const float> expected) {
  double largest = actual.size() == expected.size() ? 0.0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    const double d = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    // std::max would drop a NaN.
    if (!(std::abs(d) <= largest)) largest = std::abs(d);
  }
  return largest;
}

/// Compares all tensors of a rank with `kind`.<parameter> of the fixture. The keys' third of
/// c_attn.bias [3, C] is compared apart, absolutely.
void expect_near(const HostParameters& actual,
                 const Fixture& fixture,
                 const std::string& kind,
                 double key_bias_tolerance) {
  const auto C = static_cast<std::size_t>(fixture.config().model.hidden_size);
  for (const auto& [name, values] : actual) {
    const std::vector<float> expected = fixture.values(kind + "." + name);
    const std::span<const float> a(values);
    const std::span<const float> b(expected);
    if (!name.ends_with("attn.c_attn.bias")) {
      EXPECT_LE(relative_error(a, b), kTolerance) << kind << " of " << name;
      continue;
    }
    ASSERT_EQ(a.size(), 3 * C);
    EXPECT_LE(relative_error(a.first(C), b.first(C)), kTolerance)
        << kind << " of " << name << ", queries";
    EXPECT_LE(largest_difference(a.subspan(C, C), b.subspan(C, C)), key_bias_tolerance)
        << kind << " of " << name << ", keys";
    EXPECT_LE(relative_error(a.last(C), b.last(C)), kTolerance)
        << kind << " of " << name << ", values";
  }
}

class Logits : public ::testing::TestWithParam<const char*> {};

TEST_P(Logits, AreThoseOfPyTorch) {
  const Fixture fixture = open_fixture(GetParam());
  const auto T = static_cast<std::size_t>(fixture.config().model.seq_len);
  const auto V = static_cast<std::size_t>(fixture.config().model.vocab_size);
  const auto backend = cpu::make_cpu_backend(1);
  model::Decoder decoder(fixture.config().model, *backend);
  for (model::Parameter& parameter : decoder.parameters().all()) {
    std::ranges::copy(fixture.values("initial." + parameter.spec.name), parameter.value);
  }
  const std::vector<float> expected = fixture.values("logits");
  const std::vector<std::int32_t> inputs = fixture.batch(0).inputs;

  std::vector<float> one_by_one;
  const std::size_t B = expected.size() / (T * V);
  for (std::size_t sequence = 0; sequence < B; ++sequence) {
    const std::span<const std::int32_t> tokens(inputs.data() + sequence * T, T);
    decoder.reset();
    for (std::size_t t = 0; t < T; ++t) {
      std::ranges::copy(decoder.extend(tokens.subspan(t, 1)), std::back_inserter(one_by_one));
    }
    decoder.reset();
    EXPECT_LE(relative_error(decoder.extend(tokens),
                             std::span(expected).subspan((sequence * T + T - 1) * V, V)),
              kTolerance)
        << "all tokens of sequence " << sequence << " at once";
  }
  EXPECT_LE(relative_error(one_by_one, expected), kTolerance) << "token by token";
}

std::string name_of_fixture(const ::testing::TestParamInfo<const char*>& info) {
  return info.param;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Logits, ::testing::ValuesIn(kFixtures), name_of_fixture);

struct Layout {
  std::string fixture;
  std::string schedule;
  int pipeline;

  friend std::ostream& operator<<(std::ostream& out, const Layout& layout) {
    return out << layout.fixture << ", " << layout.schedule << " on " << layout.pipeline
               << " ranks";
  }
};

class Training : public ::testing::TestWithParam<Layout> {};

TEST_P(Training, FollowsPyTorch) {
  const Fixture fixture = open_fixture(GetParam().fixture);
  const std::vector<RankRecord> ranks = train(fixture, GetParam().schedule, GetParam().pipeline);
  const std::vector<float> losses = fixture.values("loss");
  const std::vector<float> norms = fixture.values("grad_norm");
  HostParameters seen;
  for (const RankRecord& rank : ranks) {
    for (std::size_t step = 0; step < losses.size(); ++step) {
      EXPECT_NEAR(rank.steps[step].loss, losses[step], kTolerance * losses[step]);
      EXPECT_NEAR(rank.steps[step].grad_norm, norms[step], kTolerance * norms[step]);
    }
    expect_near(rank.gradients, fixture, "gradient", kKeyBiasGradientTolerance);
    expect_near(rank.values, fixture, "final",
                kKeyBiasStepTolerance * fixture.config().optimizer.learning_rate);
    seen.insert(rank.values.begin(), rank.values.end());
  }
  EXPECT_EQ(seen.size(), model::all_parameters(fixture.config().model).size());
}

/// One rank; V placement, where one rank has both ends; linear placement, where a tied embedding
/// has copies on two ranks.
std::vector<Layout> layouts() {
  std::vector<Layout> all;
  for (const char* fixture : kFixtures) {
    all.push_back({fixture, "1f1b", 1});
    all.push_back({fixture, "v-half", 2});
    all.push_back({fixture, "1f1b", 2});
  }
  return all;
}

std::string name_of_layout(const ::testing::TestParamInfo<Layout>& info) {
  std::string name =
      info.param.fixture + "_pp" + std::to_string(info.param.pipeline) + "_" + info.param.schedule;
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Layouts, Training, ::testing::ValuesIn(layouts()), name_of_layout);

}  // namespace
}  // namespace halfpipe::oracles
