// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/trainer_state.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

TEST(TrainerState, RoundTrip) {
  const ScratchDirectory scratch;
  const TrainerState state{.step = 1234,
                           .tokens_seen = std::numeric_limits<std::int64_t>::max(),
                           .sequences_consumed = 78976,
                           .seed = std::numeric_limits<std::uint64_t>::max(),
                           .parameter_hash = "00ff",
                           .config = "model:\n  family: \"gpt2\"\n# \t \\ é\n"};
  write_trainer_state(scratch.path(), state);
  EXPECT_EQ(read_trainer_state(scratch.path()), state);
}

TEST(TrainerState, RoundTripWithARecordOfTheData) {
  const ScratchDirectory scratch;
  TrainerState state;
  state.data = DataRecord{.train_tokens = 900,
                          .validation_tokens = 100,
                          .train_digest = "0a",
                          .validation_digest = "0b"};
  write_trainer_state(scratch.path(), state);
  EXPECT_EQ(read_trainer_state(scratch.path()), state);
}

TEST(TrainerState, AFileNameThatIsNotUtf8DoesNotPreventACheckpoint) {
  const ScratchDirectory scratch;
  TrainerState state;
  state.config = "dir: a\xFF";
  write_trainer_state(scratch.path(), state);
  EXPECT_TRUE(contains(read_trainer_state(scratch.path()).config, "dir: a"));
}

struct BadStateCase {
  std::string name;
  std::string text;
  std::string message;
};

class BadTrainerState : public testing::TestWithParam<BadStateCase> {};

TEST_P(BadTrainerState, IsRefusedByFileAndKey) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "trainer.json", GetParam().text);
  const std::string message =
      message_of<FileError>([&] { (void)read_trainer_state(scratch.path()); });
  EXPECT_TRUE(contains(message, "trainer.json") && contains(message, GetParam().message))
      << message;
}

INSTANTIATE_TEST_SUITE_P(
    All,
    BadTrainerState,
    testing::Values(BadStateCase{"NotJson", "{", "not JSON"},
                    BadStateCase{"NotAnObject", "[]", "object"},
                    BadStateCase{"Nested", R"({"version":)" + deeply_nested() + "}",
                                 "nested too deeply"},
                    BadStateCase{"NoVersion", "{}", "'version'"},
                    BadStateCase{"AnotherVersion", R"({"version":2})", "version (2) must be 1"},
                    BadStateCase{"MissingKey", R"({"version":1})", "'step'"},
                    BadStateCase{"NegativeStep", R"({"version":1,"step":-3})", "step (-3)"},
                    BadStateCase{"TextData",
                                 R"({"version":1,"step":1,"tokens_seen":1,"sequences_consumed":1,
                                     "seed":1,"parameter_hash":"","config":"","data":3})",
                                 "data (3) must be a JSON object"},
                    BadStateCase{"HalfData",
                                 R"({"version":1,"step":1,"tokens_seen":1,"sequences_consumed":1,
                                     "seed":1,"parameter_hash":"","config":"","data":{}})",
                                 "data: key 'train_tokens'"},
                    BadStateCase{"TextStep", R"({"version":1,"step":"3"})", "step (\"3\")"}),
    [](const auto& tested) { return tested.param.name; });

TEST(TrainerState, AMissingFileIsNamed) {
  const ScratchDirectory scratch;
  const std::string message =
      message_of<FileError>([&] { (void)read_trainer_state(scratch.path()); });
  EXPECT_TRUE(contains(message, "trainer.json")) << message;
}

}  // namespace
}  // namespace halfpipe::checkpoint
