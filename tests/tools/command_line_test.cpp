// SPDX-License-Identifier: Apache-2.0
// The command line itself: help, version, exit codes, and errors of one line on stderr.
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using CommandLine = CommandTest;

TEST_F(CommandLine, EveryCommandHasHelpWithAnExample) {
  EXPECT_NE(run({"--help"}).out.find("Examples:"), std::string::npos);
  for (const std::string command :
       {"train", "generate", "tokenize", "evaluate", "inspect", "config", "plan"}) {
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
      {{"evaluate", "out"}, "--text"},
      {{"generate", "out", "--tokens", "-5"}, "--tokens"},
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
