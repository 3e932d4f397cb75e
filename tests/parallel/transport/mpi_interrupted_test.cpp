// SPDX-License-Identifier: Apache-2.0
// A rank that is killed or stopped in the middle of an MPI job: the others say so and the job ends.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <string>

namespace halfpipe::transport {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// mpirun with four victims, and all that they print.
class Job {
 public:
  explicit Job(const std::string& timeout_seconds) {
    const std::string command = std::string("exec ") + HALFPIPE_TEST_MPIEXEC +
                                " -n 4 --oversubscribe --bind-to none " + HALFPIPE_TEST_VICTIM +
                                " " + timeout_seconds + " 2>&1";
    pipe_ = ::popen(command.c_str(), "r");
  }
  ~Job() {
    for (const auto& [rank, pid] : pids_) ::kill(pid, SIGKILL);
    if (pipe_ != nullptr) ::pclose(pipe_);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// True when all four ranks have told their process.
  bool starts_within(double seconds) {
    const auto start = Clock::now();
    while (pids_.size() < 4 && read_some(seconds - seconds_since(start))) find_pids();
    return pids_.size() == 4;
  }
  /// True when mpirun and all that write to its output have ended.
  bool ends_within(double seconds) {
    const auto start = Clock::now();
    while (read_some(seconds - seconds_since(start))) {
    }
    if (!at_end_) return false;
    status_ = ::pclose(pipe_);
    pipe_ = nullptr;
    return true;
  }
  void signal(int rank, int number) { ::kill(pids_.at(rank), number); }

  [[nodiscard]] int exit_code() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; }
  [[nodiscard]] pid_t pid(int rank) const { return pids_.at(rank); }
  [[nodiscard]] const std::string& output() const { return output_; }

 private:
  bool read_some(double seconds) {
    pollfd readable{::fileno(pipe_), POLLIN, 0};
    if (seconds <= 0.0 || ::poll(&readable, 1, static_cast<int>(seconds * 1e3)) <= 0) return false;
    std::array<char, 4096> buffer{};
    const ssize_t length = ::read(readable.fd, buffer.data(), buffer.size());
    at_end_ = length <= 0;
    if (!at_end_) output_.append(buffer.data(), static_cast<std::size_t>(length));
    return !at_end_;
  }
  void find_pids() {
    for (int rank = 0; rank < 4; ++rank) {
      const std::string prefix = "rank " + std::to_string(rank) + " runs as process ";
      const std::size_t at = output_.find(prefix);
      if (at == std::string::npos || output_.find('\n', at) == std::string::npos) continue;
      pids_[rank] = std::stoi(output_.substr(at + prefix.size()));
    }
  }

  FILE* pipe_ = nullptr;
  int status_ = 0;
  bool at_end_ = false;
  std::string output_;
  std::map<int, pid_t> pids_;
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t number = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++number;
  }
  return number;
}

TEST(InterruptedMpiJob, AKilledRankIsNamedOnceAndTheJobEnds) {
  for (const int victim : {2, 0}) {
    Job job("60");
    ASSERT_TRUE(job.starts_within(30.0)) << job.output();
    const auto start = Clock::now();
    job.signal(victim, SIGKILL);
    ASSERT_TRUE(job.ends_within(10.0)) << job.output();
    RecordProperty("seconds", std::to_string(seconds_since(start)));
    const std::string text = "rank " + std::to_string(victim) + "/4 (pid " +
                             std::to_string(job.pid(victim)) + ") has died at step ";
    EXPECT_NE(job.output().find(text), std::string::npos) << job.output();
    EXPECT_EQ(count(job.output(), "halfpipe: error: "), 1U) << job.output();
    EXPECT_NE(job.exit_code(), 0);
  }
}

TEST(InterruptedMpiJob, AStoppedRankIsNamedOnceAndTheJobEnds) {
  for (const int victim : {1, 3}) {
    Job job("2");
    ASSERT_TRUE(job.starts_within(30.0)) << job.output();
    job.signal(victim, SIGSTOP);
    // The timeout of 2 s, and mpirun's time to end the ranks.
    ASSERT_TRUE(job.ends_within(10.0)) << job.output();
    const std::string text = "rank " + std::to_string(victim) + "/4 (pid " +
                             std::to_string(job.pid(victim)) + ") is stopped (state T) at step ";
    EXPECT_NE(job.output().find(text), std::string::npos) << job.output();
    EXPECT_NE(job.output().find("wait_recv activation of micro-batch 3"), std::string::npos);
    EXPECT_EQ(count(job.output(), "halfpipe: error: "), 1U) << job.output();
    EXPECT_NE(job.exit_code(), 0);
  }
}

TEST(InterruptedMpiJob, ARankThatIsStoppedForLessThanTheTimeoutGoesOn) {
  Job job("3");
  ASSERT_TRUE(job.starts_within(30.0)) << job.output();
  job.signal(1, SIGSTOP);
  EXPECT_FALSE(job.ends_within(1.5)) << job.output();
  job.signal(1, SIGCONT);
  EXPECT_FALSE(job.ends_within(4.0)) << job.output();
  EXPECT_EQ(count(job.output(), "halfpipe: error: "), 0U) << job.output();
  for (int rank = 0; rank < 4; ++rank) job.signal(rank, SIGKILL);
  EXPECT_TRUE(job.ends_within(10.0)) << job.output();
}

}  // namespace
}  // namespace halfpipe::transport
