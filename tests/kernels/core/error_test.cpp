// SPDX-License-Identifier: Apache-2.0
// Exit codes of exceptions, and what a failed check says.
#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <string>

namespace halfpipe {
namespace {

TEST(Error, TellsWhoseFaultItIs) {
  EXPECT_EQ(ConfigError("").exit_code(), 2);
  EXPECT_EQ(FileError("").exit_code(), 2);
  EXPECT_EQ(RuntimeFailure("").exit_code(), 1);
  EXPECT_EQ(InternalError("").exit_code(), 1);
}

TEST(Error, KeepsItsMessage) {
  try {
    throw ConfigError("train.steps (-1) must be positive");
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "train.steps (-1) must be positive");
  }
}

TEST(Check, NamesPlaceConditionAndReason) {
  const int slots = 3;
  try {
    HALFPIPE_CHECK(slots == 4, "four slots are planned");
    FAIL() << "the check passed";
  } catch (const InternalError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("error_test.cpp"), std::string::npos) << message;
    EXPECT_NE(message.find("slots == 4"), std::string::npos) << message;
    EXPECT_NE(message.find("four slots are planned"), std::string::npos) << message;
  }
}

TEST(Check, EvaluatesItsMessageOnlyOnFailure) {
  int evaluations = 0;
  auto message = [&] {
    ++evaluations;
    return std::string("reason");
  };
  HALFPIPE_CHECK(true, message());
  EXPECT_EQ(evaluations, 0);
}

}  // namespace
}  // namespace halfpipe
