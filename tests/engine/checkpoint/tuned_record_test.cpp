// SPDX-License-Identifier: Apache-2.0
// tuned_choices.json: what is written is read back, and anything else is refused by its name.
#include "engine/checkpoint/tuned_record.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

const TunedRecord kRecord{
    "NVIDIA H100, cuBLASLt 130000",
    {{"bfloat16 [1 x 2] [2 x 3]", {"00ff", 1.25e-4, 1.0 / 3}}, {"other", {"", 0.0, 0.0}}}};

TEST(TunedRecord, IsReadAsItWasWritten) {
  EXPECT_EQ(parse_tuned_record(to_json(kRecord), "a"), kRecord);
  EXPECT_EQ(parse_tuned_record(to_json({}), "a"), TunedRecord{});
}

TEST(TunedRecord, IsAFileOfACheckpoint) {
  const ScratchDirectory directory;
  EXPECT_FALSE(read_tuned_record(directory.path()).has_value());
  write_tuned_record(directory.path(), kRecord);
  EXPECT_EQ(read_tuned_record(directory.path()), kRecord);
}

void expect_refused(const std::string& text, const std::string& part) {
  try {
    (void)parse_tuned_record(text, "tuned_choices.json");
    ADD_FAILURE() << text << " was taken";
  } catch (const FileError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find("tuned_choices.json"), 0U) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(TunedRecord, NamesWhatIsWrong) {
  expect_refused("{", "JSON");
  expect_refused("[]", "version 1");
  expect_refused(R"({"version": 2, "made_for": "", "choices": {}})", "version 1");
  expect_refused(R"({"version": 1, "choices": {}})", "made_for");
  expect_refused(R"({"version": 1, "made_for": 3, "choices": {}})", "made_for");
  expect_refused(R"({"version": 1, "made_for": "x", "choices": []})", "choices");
  expect_refused(R"({"version": 1, "made_for": "x", "choices": {"kind": 7}})", "'kind' (7)");
  expect_refused(R"({"version": 1, "made_for": "x", "choices": {"kind": {"algorithm": "00"}}})",
                 "first_seconds");
}

}  // namespace
}  // namespace halfpipe::checkpoint
