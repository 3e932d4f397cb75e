// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/command_fixture.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace halfpipe::tools {

namespace {

namespace fs = std::filesystem;

// Every command here takes a second or two; more means that it hangs.
constexpr double kTimeoutSeconds = 60.0;

constexpr const char* kConfig =
    R"(model: {num_layers: 4, num_heads: 2, hidden_size: 32, seq_len: 16}
data: {text: text.txt}
train: {steps: 20, micro_batch_size: 4, global_batch_size: 32, evaluate_every: 10}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
parallel: {pipeline: 2}
schedule: {name: v-half}
device: {threads_per_rank: 1}
output: {dir: out}
)";

/// 10 KB of lines that a model can learn something from.
std::string small_text() {
  std::ostringstream text;
  for (int line = 0; line < 250; ++line) {
    text << "line " << line << ": " << line * 7 % 13 << " words go over the bridge\n";
  }
  return text.str();
}

std::string describe(const CommandResult& result) {
  return "exit code " + std::to_string(result.exit_code) +
         (result.timed_out ? ", killed for taking too long" : "") + "\nstdout:\n" + result.out +
         "\nstderr:\n" + result.err;
}

}  // namespace

CommandTest::CommandTest() : program(HALFPIPE_TEST_COMMAND) {
  std::string name = (fs::temp_directory_path() / "halfpipe-command-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = name;
  options.directory = folder_;
  options.environment = {{"OMP_WAIT_POLICY", "passive"}};
  if (::geteuid() == 0) {
    options.environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1";
    options.environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1";
  }
  write("text.txt", small_text());
  write("run.yaml", kConfig);
}

CommandTest::~CommandTest() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::unique_ptr<Command> CommandTest::start(const Arguments& arguments) const {
  return std::make_unique<Command>(Arguments{program} + arguments, options);
}

std::unique_ptr<Command> CommandTest::start_mpi(int num_ranks, const Arguments& arguments) const {
  return std::make_unique<Command>(Arguments{HALFPIPE_TEST_MPIEXEC, "-n", std::to_string(num_ranks),
                                             "--oversubscribe", "--bind-to", "none", program} +
                                       arguments,
                                   options);
}

std::unique_ptr<Command> CommandTest::start_mpi_by_rank(
    const std::vector<RankCommand>& by_rank) const {
  Arguments line{HALFPIPE_TEST_MPIEXEC, "--oversubscribe", "--bind-to", "none"};
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    if (rank > 0) line.emplace_back(":");
    line = line + Arguments{"-n", "1", "-wdir", path(by_rank[rank].directory).string()};
    if (!by_rank[rank].output.empty())
      line = line + Arguments{"sh", "-c", "exec \"$0\" \"$@\" > " + by_rank[rank].output};
    line = line + Arguments{program} + by_rank[rank].arguments;
  }
  return std::make_unique<Command>(line, options);
}

CommandResult CommandTest::run(const Arguments& arguments) const {
  return start(arguments)->wait(kTimeoutSeconds);
}

CommandResult CommandTest::run_mpi(int num_ranks, const Arguments& arguments) const {
  return start_mpi(num_ranks, arguments)->wait(kTimeoutSeconds);
}

void CommandTest::write(std::string_view name, std::string_view content) const {
  fs::create_directories(path(name).parent_path());
  std::ofstream(path(name), std::ios::binary)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::string CommandTest::read(std::string_view name) const {
  std::ifstream file(path(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Arguments operator+(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Arguments train(const Arguments& settings) {
  Arguments arguments{"train", "run.yaml"};
  for (const std::string& setting : settings) {
    arguments.push_back("--set");
    arguments.push_back(setting);
  }
  return arguments;
}

Arguments train_local(int num_ranks, const Arguments& settings) {
  const std::string ranks = std::to_string(num_ranks);
  return train(Arguments{"parallel.pipeline=" + ranks} + settings) +
         Arguments{"--local-ranks", ranks};
}

Metrics read_metrics(const fs::path& output_dir) {
  Metrics metrics;
  std::ifstream file(output_dir / "metrics.jsonl");
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const nlohmann::json record = nlohmann::json::parse(line);
    const auto step = record.at("step").get<std::int64_t>();
    if (record.at("event") == "end") {
      EXPECT_EQ(metrics.end_step, -1) << "two ends in " << output_dir;
      metrics.end_step = step;
      metrics.parameter_hash = record.at("parameter_hash");
    }
    if (record.at("event") == "train") {
      EXPECT_TRUE(metrics.losses.emplace(step, record.at("loss").get<double>()).second)
          << "two records of step " << step;
    }
    if (record.at("event") == "validation") {
      EXPECT_TRUE(metrics.validation_losses.emplace(step, record.at("loss").get<double>()).second)
          << "two validations of step " << step;
    }
  }
  return metrics;
}

void expect_same_run(const Metrics& one, const Metrics& other) {
  // JSON numbers are written with as many digits as tell doubles apart, so == compares bits.
  EXPECT_EQ(one.losses, other.losses);
  EXPECT_EQ(one.validation_losses, other.validation_losses);
  EXPECT_EQ(one.end_step, other.end_step);
  EXPECT_EQ(one.parameter_hash, other.parameter_hash);
  EXPECT_EQ(one.parameter_hash.size(), 32U);
}

void expect_near_run(const Metrics& one, const Metrics& other, double tolerance) {
  ASSERT_EQ(one.losses.size(), other.losses.size());
  for (const auto& [step, loss] : one.losses) {
    EXPECT_NEAR(other.losses.at(step), loss, tolerance * loss) << "step " << step;
  }
  ASSERT_EQ(one.validation_losses.size(), other.validation_losses.size());
  for (const auto& [step, loss] : one.validation_losses) {
    EXPECT_NEAR(other.validation_losses.at(step), loss, tolerance * loss) << "step " << step;
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

bool wait_for_step(const fs::path& output_dir, std::int64_t step, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (read_metrics(output_dir).losses.contains(step)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

std::vector<std::string> checkpoint_names(const fs::path& output_dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(output_dir / "checkpoints", error)) {
    const std::string name = item.path().filename().string();
    if (name.starts_with("step-")) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> error_lines(const std::string& err) {
  std::vector<std::string> found;
  for (const std::string& line : lines_of(err)) {
    if (line.starts_with("halfpipe: error: ")) found.push_back(line);
  }
  return found;
}

::testing::AssertionResult succeeded(const CommandResult& result) {
  if (result.exit_code == 0 && !result.timed_out && error_lines(result.err).empty())
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << describe(result);
}

::testing::AssertionResult refused(const CommandResult& result,
                                   int exit_code,
                                   const std::vector<std::string>& parts) {
  const std::vector<std::string> errors = error_lines(result.err);
  if (result.timed_out || result.exit_code != exit_code || errors.size() != 1) {
    return ::testing::AssertionFailure()
           << "wanted exit code " << exit_code << " and one error line; " << describe(result);
  }
  for (const std::string& part : parts) {
    if (errors.front().find(part) == std::string::npos) {
      return ::testing::AssertionFailure()
             << "\"" << part << "\" is not in: " << errors.front() << "\n"
             << describe(result);
    }
  }
  return ::testing::AssertionSuccess();
}

std::string matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::string found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    if (!found.empty()) found += ' ';
    found += (*it)[it->size() > 1 ? 1 : 0].str();
  }
  return found;
}

}  // namespace halfpipe::tools
