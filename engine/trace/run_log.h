// SPDX-License-Identifier: Apache-2.0
// What a job writes about itself while it runs: a line per step for people, main.log in llm.c's
// grammar, and metrics.jsonl for programs. Only rank 0 has one.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace halfpipe::trace {

/// One optimizer step. Steps count from 1 in everything that is written: step n is the n-th update.
struct StepRecord {
  std::int64_t step;
  std::int64_t total_steps;
  double loss;       // nats per token, mean over the global batch, before the update
  double grad_norm;  // global L2 norm before clipping
  double learning_rate;
  double seconds;          // wall clock
  std::int64_t tokens;     // of the global batch
  double model_flops;      // 6 N + 6 L C T per token, times tokens
  double bubble_fraction;  // measured, by span
  std::int64_t
      peak_bytes;  // of the rank that holds most: everything that Halfpipe took for the job
};

/// The end of a run. By rank, in bytes: everything that Halfpipe takes for the job, and the
/// high-water mark of the rank's process (which local ranks share).
struct EndRecord {
  std::int64_t step;
  std::string parameter_hash;
  std::vector<std::int64_t> planned_bytes;
  std::vector<std::int64_t> peak_resident_bytes;
};

/// The step's line, without a newline.
[[nodiscard]] std::string step_line(const StepRecord& record);

/// RuntimeFailure naming what lies in dir under the name of a log and takes no text (a folder, a
/// pipe that nobody reads): to be found before a job has cost anything.
void check_log_files(const std::filesystem::path& dir);

class RunLog {
 public:
  /// Opens the files in dir (which exists) for appending. Records after `resumed_step` are cut
  /// first: they belong to a run that went further than the checkpoint it is resumed from. 0 starts
  /// afresh. Throws RuntimeFailure naming the file, FileError when one to be cut cannot be read.
  RunLog(const std::filesystem::path& dir, std::int64_t resumed_step);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  void train(const StepRecord& record);
  void validation(std::int64_t step, double loss, std::int64_t tokens);
  void checkpoint(std::int64_t step,
                  const std::filesystem::path& path,
                  const std::string& parameter_hash);
  void end(const EndRecord& record);
  /// A line on standard output, clear of the progress line.
  void say(const std::string& text);

 private:
  void write_metrics(const std::string& json_line);
  void write_main(const std::string& line);
  void show_progress(const StepRecord& record);

  std::filesystem::path metrics_path_;
  std::filesystem::path main_path_;
  std::FILE* metrics_ = nullptr;
  std::FILE* main_ = nullptr;
  bool terminal_;
  bool progress_shown_ = false;
};

}  // namespace halfpipe::trace
