// SPDX-License-Identifier: Apache-2.0
// The command line itself: help, version, exit codes, and errors of one line on stderr.
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using CommandLine = CommandTest;

TEST_F(CommandLine, EveryCommandHasHelpWithAnExample) {
  EXPECT_NE(run({"--help"}).out.find("Examples:"), std::string::npos);
  for (const std::string command : {"train", "generate", "tokenize", "evaluate", "inspect",
                                    "config", "plan", "schedule", "bench"}) {
    const CommandResult result = run({command, "--help"});
    EXPECT_TRUE(succeeded(result)) << command;
    EXPECT_NE(result.out.find("Example"), std::string::npos) << command << "\n" << result.out;
    EXPECT_NE(result.out.find("halfpipe " + command + " "), std::string::npos) << result.out;
    EXPECT_EQ(result.err, "") << command;
  }
}

TEST_F(CommandLine, TellsItsVersion) {
  const CommandResult result = run({"--version"});
  EXPECT_TRUE(succeeded(result));
  EXPECT_TRUE(result.out.starts_with("halfpipe ")) << result.out;
  EXPECT_EQ(result.out.back(), '\n');
}

TEST_F(CommandLine, WhatItDoesNotKnowIsAnErrorOfOneLine) {
  const std::vector<std::pair<Arguments, std::string>> cases = {
      {{}, "subcommand"},
      {{"trian", "run.yaml"}, "trian"},
      {{"train"}, "config"},
      {{"train", "run.yaml", "--sett", "train.steps=1"}, "--sett"},
      {{"train", "run.yaml", "--set"}, "--set"},
      {{"train", "run.yaml", "extra.yaml"}, "extra.yaml"},
      {{"train", "run.yaml", "--local-ranks", "0"}, "--local-ranks"},
      {{"train", "run.yaml", "--local-ranks", "two"}, "--local-ranks"},
      {{"train", "run.yaml", "--local-ranks", "257"}, "--local-ranks"},
      {{"evaluate", "out"}, "--text"},
      {{"generate", "out", "--tokens", "-5"}, "--tokens"},
      {{"generate", "out", "--seed", "-1"}, "--seed: (-1) must be a whole number"},
      {{"generate", "out", "--seed", "99999999999999999999"}, "--seed: (99999999999999999999)"},
      {{"generate", "out", "--temperature", "nan"}, "--temperature: (nan) must be"},
      {{"generate", "out", "--temperature", "100.5"}, "--temperature: (100.5) must be"},
      {{"generate", "out", "--threads", "1025"}, "--threads"},
      {{"plan", "run.yaml", "--svg", ""}, "--svg: () must be a name"},
      {{"tokenize", "text.txt", "--out", "t", "--validation-fraction", "1"},
       "--validation-fraction: (1) must be a number of at least 0 and below 1"},
      {{"tokenize", "text.txt"}, "--out"},
      {{"inspect"}, "checkpoint"}};
  for (const auto& [arguments, part] : cases) {
    const CommandResult result = run(arguments);
    EXPECT_TRUE(refused(result, 2, {part}));
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  }
}

TEST_F(CommandLine, ExitCodesTellWhoseFaultItWas) {
  EXPECT_EQ(run({"config", "run.yaml"}).exit_code, 0);
  EXPECT_EQ(run({"config", "absent.yaml"}).exit_code, 2);
  // /dev/full takes the file but no byte: the machine's fault.
  const CommandResult full = run({"plan", "run.yaml", "--svg", "/dev/full"});
  EXPECT_TRUE(refused(full, 1, {"/dev/full"}));
}

// A disk that is full must not look like an answer.
TEST_F(CommandLine, OutputThatIsLostIsAFailure) {
  const Arguments train_once = train_local(1, {"train.steps=1", "output.dir=model"});
  ASSERT_TRUE(succeeded(run(train_once)));
  const std::vector<Arguments> commands = {{"--version"},
                                           {"train", "--help"},
                                           {"config", "run.yaml"},
                                           {"plan", "run.yaml"},
                                           {"inspect", "model"},
                                           {"generate", "model", "--tokens", "3"},
                                           {"evaluate", "model", "--text", "text.txt", "--json"},
                                           train_local(1, {"train.steps=1"})};
  options.output = "/dev/full";
  for (const Arguments& command : commands)
    EXPECT_TRUE(refused(run(command), 1, {"standard output"})) << command.front();
  EXPECT_EQ(read_metrics(path("out")).end_step, 1) << "the run itself lost nothing";
  // What was wrong before the output is what counts.
  EXPECT_TRUE(refused(run({"config", "absent.yaml"}), 2, {"absent.yaml"}));
}

TEST_F(CommandLine, WordsOfUsersDoNotBreakMessages) {
  write("odd.yaml", "\"tr\\x1b[2Jain\\nhalfpipe: error: x\": 1\n");
  const std::vector<std::pair<Arguments, std::string>> cases = {
      {{"config", "odd.yaml"}, R"(tr\x1b[2Jain\nhalfpipe: error: x)"},
      {{"config", "run.yaml", "--set", "output.dir=a\nb"}, R"(--set output.dir=a\nb)"},
      {{"config", "run.yaml", "--set", "foo\nbar=3"}, R"(foo\nbar)"},
      {{"config", "a\rb.yaml"}, R"(a\rb.yaml)"},
      {{"inspect", "a\tb"}, R"(a\tb)"}};
  for (const auto& [arguments, part] : cases) {
    const CommandResult result = run(arguments);
    EXPECT_TRUE(refused(result, 2, {part}));
    EXPECT_EQ(result.err.find_first_of("\r\t\x1b"), std::string::npos) << result.err;
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  }
}

TEST_F(CommandLine, ConfigPrintsOneValueForScripts) {
  const CommandResult result = run({"config", "run.yaml", "--get", "parallel.pipeline"});
  EXPECT_TRUE(succeeded(result));
  EXPECT_EQ(result.out, "2\n");
}

TEST_F(CommandLine, TheConfigurationThatIsPrintedIsOneThatIsRead) {
  write("printed.yaml", run({"config", "run.yaml"}).out);
  EXPECT_EQ(run({"config", "printed.yaml"}).out, read("printed.yaml"));
}

}  // namespace
}  // namespace halfpipe::tools
