// SPDX-License-Identifier: Apache-2.0
// A program under test: started in a process group of its own, its output in files, its end waited
// for with a limit, and nothing of it left behind.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace halfpipe::tools {

/// What a program left when it ended.
struct CommandResult {
  int exit_code = 0;       // 128 + signal when a signal ended it
  bool timed_out = false;  // it was killed for taking too long
  std::string out;
  std::string err;
};

struct CommandOptions {
  std::filesystem::path directory;                 // it runs here
  std::map<std::string, std::string> environment;  // added to ours
  std::filesystem::path output = {};               // takes stdout, in place of CommandResult::out
  std::optional<std::uint64_t> file_size_limit = {};  // bytes; a longer write fails with EFBIG
};

class Command {
 public:
  /// Starts arguments[0], looked for in PATH.
  Command(const std::vector<std::string>& arguments, const CommandOptions& options);
  /// Kills what still runs, its descendants included.
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  /// Waits for the end; after `seconds` the program and all its descendants are killed.
  CommandResult wait(double seconds);
  /// Sends a signal to the program itself, and to nothing else.
  void signal(int number) const;

  [[nodiscard]] bool running();
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// The process among its descendants that Open MPI numbered `rank`; absent when there is none.
  [[nodiscard]] std::optional<pid_t> rank_process(int rank) const;

 private:
  void kill_all() const;

  pid_t pid_ = -1;
  std::optional<int> status_;  // of waitpid, once it has ended
  std::filesystem::path out_path_;
  std::filesystem::path err_path_;
};

}  // namespace halfpipe::tools
