// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/command.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace halfpipe::tools {

namespace {

namespace fs = std::filesystem;

constexpr auto kPollInterval = std::chrono::milliseconds(5);

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// An empty file that no other command writes to.
fs::path make_output_file() {
  std::string name = (fs::temp_directory_path() / "halfpipe-output-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  if (file < 0) throw std::runtime_error("no temporary file");
  ::close(file);
  return name;
}

/// In the child, between fork and exec: only calls that are safe there.
void become(const std::vector<char*>& arguments,
            const CommandOptions& options,
            const fs::path& out,
            const fs::path& err) {
  ::setpgid(0, 0);
  ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
  ::dup2(::open(out.c_str(), O_WRONLY), STDOUT_FILENO);
  ::dup2(::open(err.c_str(), O_WRONLY), STDERR_FILENO);
  if (options.file_size_limit) {
    const rlimit limit{*options.file_size_limit, *options.file_size_limit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_IGN);  // inherited: the write then fails with EFBIG
  }
  if (::chdir(options.directory.c_str()) != 0) ::_exit(126);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& task :
       fs::directory_iterator(fs::path("/proc") / std::to_string(parent) / "task", error)) {
    std::ifstream list(task.path() / "children");
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  return children;
}

std::vector<pid_t> descendants_of(pid_t ancestor) {
  std::vector<pid_t> found = children_of(ancestor);
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const pid_t child : children_of(found[i])) found.push_back(child);
  }
  return found;
}

}  // namespace

Command::Command(const std::vector<std::string>& arguments, const CommandOptions& options)
    : out_path_(make_output_file()), err_path_(make_output_file()) {
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments)
    pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ == 0) {
    // Single-threaded tests: setenv after fork is safe.
    for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
    become(pointers, options, options.output.empty() ? out_path_ : options.output, err_path_);
  }
  ::setpgid(pid_, pid_);  // here too: whoever comes first
}

Command::~Command() {
  if (running()) {
    kill_all();
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }
  std::error_code ignored;
  fs::remove(out_path_, ignored);
  fs::remove(err_path_, ignored);
}

bool Command::running() {
  if (status_) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return !status_;
}

CommandResult Command::wait(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  CommandResult result;
  while (running()) {
    if (!result.timed_out && std::chrono::steady_clock::now() > end) {
      result.timed_out = true;
      kill_all();
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  result.exit_code = WIFEXITED(*status_) ? WEXITSTATUS(*status_) : 128 + WTERMSIG(*status_);
  result.out = read_text(out_path_);
  result.err = read_text(err_path_);
  return result;
}

void Command::signal(int number) const {
  ::kill(pid_, number);
}

std::optional<pid_t> Command::rank_process(int rank) const {
  const std::string entry = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank);
  for (const pid_t process : descendants_of(pid_)) {
    // Entries end with a zero byte, the first one follows nothing.
    const std::string environment =
        '\0' + read_text(fs::path("/proc") / std::to_string(process) / "environ");
    if (environment.find('\0' + entry + '\0') != std::string::npos) return process;
  }
  return std::nullopt;
}

void Command::kill_all() const {
  // Open MPI gives every rank a process group of its own, so the group is not enough.
  for (const pid_t process : descendants_of(pid_)) ::kill(process, SIGKILL);
  ::kill(-pid_, SIGKILL);
}

}  // namespace halfpipe::tools
