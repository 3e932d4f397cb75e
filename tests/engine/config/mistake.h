// SPDX-License-Identifier: Apache-2.0
// Mistakes in a configuration, and the one message that each must give.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace halfpipe::config {

struct Mistake {
  std::string name;
  std::string yaml;
  std::vector<std::string> settings;
  std::vector<std::string> expected;  // parts of the message, the first one its beginning
};

inline void PrintTo(const Mistake& mistake, std::ostream* out) {
  *out << mistake.name;
}

inline std::string name_of(const testing::TestParamInfo<Mistake>& info) {
  return info.param.name;
}

/// Its test is in bad_config_test.cpp; each file has suites of its mistakes.
class BadConfig : public testing::TestWithParam<Mistake> {};

// A right file of two lines, so that a line added below it is line 3.
inline const std::string kShards = "data:\n  shards: {train: t.bin, validation: v.bin}\n";
inline const std::string kGood = "data: {text: corpus.txt}\nmodel: {num_layers: 4}\n";

}  // namespace halfpipe::config
