// SPDX-License-Identifier: Apache-2.0
// Hardware profiles: what is read, and what is refused with the place, the key and the rule.
#include "engine/config/hardware_profile.h"

#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace halfpipe::config {
namespace {

const std::string kGood = R"(name: A toy
memory: 3 MiB
memory_rate: {bytes_per_second: 1.0e9, efficiency: 0.5}
float32: {flops_per_second: 2.0e9, efficiency: 0.25}
bf16: {flops_per_second: 4.0e9, efficiency: 1}
attention: 0.3
op_seconds: 0
product_seconds: 2
ranks_per_machine: 2
within_machine: {latency_seconds: 1.0e-6, bytes_per_second: 3.0e8, efficiency: 0.9}
between_machines: {latency_seconds: 0, bytes_per_second: 1.0e8, efficiency: 0.8}
)";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kGood;
  text.replace(text.find(from), from.size(), to);
  return text;
}

TEST(HardwareProfile, ReadsEveryKey) {
  const HardwareProfile profile = parse_hardware(kGood, "toy.yaml");
  EXPECT_EQ(profile.name, "A toy");
  EXPECT_EQ(profile.memory_bytes, 3 << 20);
  EXPECT_EQ(profile.memory, (Rate{1e9, 0.5}));
  EXPECT_EQ(profile.float32, (Rate{2e9, 0.25}));
  EXPECT_EQ(profile.float32.reached(), 0.5e9);
  EXPECT_EQ(profile.bf16, (Rate{4e9, 1.0}));
  EXPECT_EQ(profile.attention_share, 0.3);
  EXPECT_EQ(profile.op_seconds, 0.0);
  EXPECT_EQ(profile.product_seconds, 2.0);
  EXPECT_EQ(profile.ranks_per_machine, 2);
  EXPECT_EQ(profile.within_machine, (HardwareLink{1e-6, {3e8, 0.9}}));
  EXPECT_EQ(profile.between_machines, (HardwareLink{0.0, {1e8, 0.8}}));
}

TEST(HardwareProfile, TextsTellProfilesApart) {
  const HardwareProfile profile = parse_hardware(kGood, "toy.yaml");
  EXPECT_EQ(to_text(profile), to_text(parse_hardware(kGood, "other.yaml")));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"A toy", "B toy"},
           {"3 MiB", "4 MiB"},
           {"0.5", "0.6"},
           {"2.0e9", "2.1e9"},
           {"4.0e9", "4.1e9"},
           {"attention: 0.3", "attention: 0.4"},
           {"op_seconds: 0", "op_seconds: 1"},
           {"product_seconds: 2", "product_seconds: 3"},
           {"ranks_per_machine: 2", "ranks_per_machine: 3"},
           {"1.0e-6", "1.1e-6"},
           {"efficiency: 0.8", "efficiency: 0.7"}}) {
    EXPECT_NE(to_text(profile), to_text(parse_hardware(with(from, to), "toy.yaml"))) << from;
  }
}

TEST(HardwareProfile, RefusesWithPlaceKeyAndRule) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> mistakes = {
      {with("memory: 3 MiB", "memory: 3 units"), {"toy.yaml:2", "memory (3 units)", "80 GiB"}},
      {with("memory: 3 MiB", "memory: 0.3 B"), {"toy.yaml:2", "memory (0.3 B)"}},
      {with("flops_per_second: 2.0e9", "flops_per_second: 1e300"),
       {"toy.yaml:4", "float32.flops_per_second (1e300)"}},
      {with("op_seconds: 0", "op_seconds: 1e300"), {"toy.yaml:7", "op_seconds (1e300)"}},
      {with("memory: 3 MiB", "memory: lots"), {"toy.yaml:2", "memory (lots)"}},
      {with("efficiency: 0.5", "efficiency: 1.5"),
       {"toy.yaml:3", "memory_rate.efficiency (1.5)", "from 1e-06 to 1"}},
      {with("efficiency: 0.25", "efficiency: 0"), {"toy.yaml:4", "float32.efficiency (0)"}},
      {with("flops_per_second: 4.0e9", "flops_per_second: -1"),
       {"toy.yaml:5", "bf16.flops_per_second (-1)", "from 1 to 1e+21"}},
      {with("op_seconds: 0", "op_seconds: -1e-9"), {"toy.yaml:7", "op_seconds", "from 0 to 3600"}},
      {with("attention: 0.3", "attention: 1.1"), {"toy.yaml:6", "attention (1.1)", "to 1"}},
      {with("product_seconds: 2", "product_seconds: -2"),
       {"toy.yaml:8", "product_seconds (-2)", "from 0 to 3600"}},
      {with("ranks_per_machine: 2", "ranks_per_machine: 0"),
       {"toy.yaml:9", "ranks_per_machine (0)", "from 1"}},
      {with("ranks_per_machine: 2", "ranks_per_machine: 1.5"), {"ranks_per_machine (1.5)"}},
      {with("latency_seconds: 1.0e-6", "latency_seconds: -1"),
       {"toy.yaml:10", "within_machine.latency_seconds (-1)", "from 0 to 3600"}},
      {with("latency_seconds: 1.0e-6, ", ""),
       {"toy.yaml:10", "within_machine.latency_seconds", "missing"}},
      {with("op_seconds: 0\n", ""), {"toy.yaml", "op_seconds is missing"}},
      {with("op_seconds: 0", "op_second: 0"),
       {"toy.yaml:7", "op_second: ", "did you mean op_seconds?"}},
      {kGood + "op_second: 0\n", {"toy.yaml:12", "op_second:", "did you mean op_seconds?"}},
      {with("efficiency: 0.9", "efficiency: 0.9, width: 3"),
       {"toy.yaml:10", "within_machine.width", "no such key"}},
      {with("{flops_per_second: 2.0e9, efficiency: 0.25}", "2.0e9"),
       {"toy.yaml:4", "float32 (2.0e9)", "a map"}},
      {"", {"toy.yaml", "a map of keys and values"}},
      {"- 1\n", {"toy.yaml", "a map of keys and values"}},
  };
  for (const auto& [text, parts] : mistakes) {
    try {
      static_cast<void>(parse_hardware(text, "toy.yaml"));
      ADD_FAILURE() << "accepted:\n" << text;
    } catch (const ConfigError& error) {
      const std::string message = error.what();
      for (const std::string& part : parts) {
        EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks: " << part;
      }
    }
  }
}

}  // namespace
}  // namespace halfpipe::config
