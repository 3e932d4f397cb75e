// SPDX-License-Identifier: Apache-2.0
// The fixture of all tests that run the `halfpipe` command: a folder with a small text and a small
// configuration, ways to run the command there, and readers of what it leaves.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/tools/command.h"

namespace halfpipe::tools {

using Arguments = std::vector<std::string>;

/// What one rank of an MPI job is started with.
struct RankCommand {
  Arguments arguments;
  std::string directory = ".";  // below the test's folder
  std::string output = {};      // takes its stdout: a name in the directory
};

/// A folder of its own, removed at the end. It holds text.txt (bytes of ASCII), and run.yaml: 4
/// blocks of width 32, 16 tokens of context, 20 steps of 8 micro-batches, 2 pipeline ranks under
/// v-half, a constant learning rate (so that the number of steps changes no step), output in `out`.
class CommandTest : public ::testing::Test {
 protected:
  CommandTest();
  ~CommandTest() override;

  /// `halfpipe ARGUMENTS` in the folder, run to its end.
  [[nodiscard]] CommandResult run(const Arguments& arguments) const;
  /// The same on MPI processes.
  [[nodiscard]] CommandResult run_mpi(int num_ranks, const Arguments& arguments) const;
  [[nodiscard]] std::unique_ptr<Command> start(const Arguments& arguments) const;
  [[nodiscard]] std::unique_ptr<Command> start_mpi(int num_ranks, const Arguments& arguments) const;
  /// One process for each, `mpirun -n 1 halfpipe A : -n 1 halfpipe B ...`.
  [[nodiscard]] std::unique_ptr<Command> start_mpi_by_rank(
      const std::vector<RankCommand>& by_rank) const;

  /// Path of a name in the folder.
  [[nodiscard]] std::filesystem::path path(std::string_view name) const { return folder_ / name; }
  void write(std::string_view name, std::string_view content) const;
  [[nodiscard]] std::string read(std::string_view name) const;

  CommandOptions options;  // of every command started from here on
  std::string program;     // what `halfpipe` stands for above

 private:
  std::filesystem::path folder_;
};

/// `train run.yaml` with settings, each "section.key=value", and the ranks that they ask for.
[[nodiscard]] Arguments train(const Arguments& settings);
/// The same with --local-ranks.
[[nodiscard]] Arguments train_local(int num_ranks, const Arguments& settings);
[[nodiscard]] Arguments operator+(Arguments first, const Arguments& second);

/// What a run wrote into metrics.jsonl.
struct Metrics {
  std::map<std::int64_t, double> losses;             // by step; a step written twice is a failure
  std::map<std::int64_t, double> validation_losses;  // likewise
  std::int64_t end_step = -1;                        // -1: the run has not ended
  std::string parameter_hash;                        // of its end
};
[[nodiscard]] Metrics read_metrics(const std::filesystem::path& output_dir);

/// The same losses and parameters to the bit.
void expect_same_run(const Metrics& one, const Metrics& other);
/// The same steps, each with the same losses but for `tolerance` of them.
void expect_near_run(const Metrics& one, const Metrics& other, double tolerance);

[[nodiscard]] std::vector<std::string> lines_of(const std::string& text);

/// Every match of a pattern in a text, with blanks between them; of its first group if it has one.
[[nodiscard]] std::string matches(const std::string& text, const std::string& pattern);

/// Waits until a running job has written a train record of `step`.
[[nodiscard]] bool wait_for_step(const std::filesystem::path& output_dir,
                                 std::int64_t step,
                                 double seconds);

/// Names of the whole checkpoints of a run: "step-00000020", ...; sorted.
[[nodiscard]] std::vector<std::string> checkpoint_names(const std::filesystem::path& output_dir);

/// It ended well: exit code 0, in time, no error message.
[[nodiscard]] ::testing::AssertionResult succeeded(const CommandResult& result);
/// It ended in time with this exit code and exactly one error message of ours, a single line which
/// has all these parts.
[[nodiscard]] ::testing::AssertionResult refused(const CommandResult& result,
                                                 int exit_code,
                                                 const std::vector<std::string>& parts);
/// The lines of ours that begin with "halfpipe: error: ".
[[nodiscard]] std::vector<std::string> error_lines(const std::string& err);

}  // namespace halfpipe::tools
