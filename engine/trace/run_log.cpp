// SPDX-License-Identifier: Apache-2.0
#include "engine/trace/run_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/files/mapped_file.h"
#include "engine/files/output_file.h"
#include "kernels/core/error.h"

namespace halfpipe::trace {

namespace {

constexpr const char* kMetricsName = "metrics.jsonl";
constexpr const char* kMainName = "main.log";
constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw RuntimeFailure(fmt::format("{}: cannot {}: {}", path.string(), what, std::strerror(errno)));
}

/// O_NONBLOCK: a pipe without a reader is an error here, where fopen would wait for one.
void check_is_writable_or_absent(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0 && errno != ENOENT) fail(path, "open for writing");
  if (descriptor >= 0) ::close(descriptor);
}

/// Keeps the lines for which keep(line) holds. A last line that a crash cut short is dropped with
/// the rest.
template <typename Keep>
void filter_lines(const std::filesystem::path& path, const Keep& keep) {
  if (!std::filesystem::is_regular_file(path)) return;  // absent, or a pipe, which keeps nothing
  const std::string text = files::read_text_file(path);
  std::string kept;
  std::size_t start = 0;
  for (std::size_t end = 0; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
    const std::string line = text.substr(start, end - start);
    if (keep(line)) kept += line + '\n';
  }
  files::write_file(path, kept);
}

bool metrics_line_is_kept(const std::string& line, std::int64_t last_step) {
  const nlohmann::json record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object()) return false;
  const auto event = record.find("event");
  const auto step = record.find("step");
  const bool is_ours = event != record.end() && step != record.end() && step->is_number_integer();
  return is_ours && *event != "end" && step->get<std::int64_t>() <= last_step;
}

bool main_line_is_kept(const std::string& line, std::int64_t last_step) {
  long long step = 0;
  return std::sscanf(line.c_str(), "s:%lld", &step) == 1 && step <= last_step;
}

/// A path may hold bytes that are not UTF-8, which JSON cannot: better altered than no record.
std::string to_line(const nlohmann::ordered_json& record) {
  return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::FILE* open_for_append(const std::filesystem::path& path, bool afresh) {
  std::FILE* file = std::fopen(path.c_str(), afresh ? "w" : "a");
  if (file == nullptr) fail(path, "open for writing");
  return file;
}

}  // namespace

void check_log_files(const std::filesystem::path& dir) {
  check_is_writable_or_absent(dir / kMetricsName);
  check_is_writable_or_absent(dir / kMainName);
}

std::string step_line(const StepRecord& r) {
  const int width = static_cast<int>(std::to_string(r.total_steps).size());
  return fmt::format(
      "step {:{}}/{} | loss {:8.6f} | norm {:8.4f} | lr {:.2e} | {:7.1f} ms | {:6.0f} tok/s | "
      "{:5.1f} "
      "GFLOP/s | bubble {:4.1f}% | peak {:.3f} GiB",
      r.step, width, r.total_steps, r.loss, r.grad_norm, r.learning_rate, r.seconds * 1e3,
      static_cast<double>(r.tokens) / r.seconds, r.model_flops / r.seconds * 1e-9,
      100.0 * r.bubble_fraction, static_cast<double>(r.peak_bytes) / kGibibyte);
}

RunLog::RunLog(const std::filesystem::path& dir, std::int64_t resumed_step)
    : metrics_path_(dir / kMetricsName),
      main_path_(dir / kMainName),
      // A launcher may give its ranks a pseudo-terminal for stdout whatever its own output is;
      // stderr tells.
      terminal_(isatty(STDOUT_FILENO) == 1 && isatty(STDERR_FILENO) == 1) {
  check_log_files(dir);
  const bool afresh = resumed_step == 0;
  if (!afresh) {
    filter_lines(metrics_path_,
                 [&](const std::string& l) { return metrics_line_is_kept(l, resumed_step); });
    filter_lines(main_path_,
                 [&](const std::string& l) { return main_line_is_kept(l, resumed_step); });
  }
  metrics_ = open_for_append(metrics_path_, afresh);
  try {
    main_ = open_for_append(main_path_, afresh);
  } catch (...) {
    std::fclose(metrics_);
    throw;
  }
}

RunLog::~RunLog() {
  std::fclose(metrics_);
  std::fclose(main_);
}

void RunLog::train(const StepRecord& r) {
  say(step_line(r));
  const nlohmann::ordered_json json = {
      {"event", "train"},
      {"step", r.step},
      {"loss", r.loss},
      {"grad_norm", r.grad_norm},
      {"lr", r.learning_rate},
      {"tokens_per_second", static_cast<double>(r.tokens) / r.seconds},
      {"seconds", r.seconds},
      {"model_flops_per_second", r.model_flops / r.seconds},
      {"bubble_fraction", r.bubble_fraction},
      {"peak_bytes", r.peak_bytes}};
  write_metrics(to_line(json));
  write_main(fmt::format("s:{} trl:{:.6f} lr:{:.6e} norm:{:.6f}", r.step, r.loss, r.learning_rate,
                         r.grad_norm));
  show_progress(r);
}

void RunLog::validation(std::int64_t step, double loss, std::int64_t tokens) {
  say(fmt::format("validation at step {} | loss {:8.6f} nats per token over {} tokens", step, loss,
                  tokens));
  const nlohmann::ordered_json json = {
      {"event", "validation"}, {"step", step}, {"loss", loss}, {"tokens", tokens}};
  write_metrics(to_line(json));
  write_main(fmt::format("s:{} tel:{:.6f}", step, loss));
}

void RunLog::checkpoint(std::int64_t step,
                        const std::filesystem::path& path,
                        const std::string& parameter_hash) {
  say(fmt::format("checkpoint of step {} in {} (parameters {})", step, path.string(),
                  parameter_hash));
  const nlohmann::ordered_json json = {{"event", "checkpoint"},
                                       {"step", step},
                                       {"path", path.string()},
                                       {"parameter_hash", parameter_hash}};
  write_metrics(to_line(json));
}

void RunLog::end(const EndRecord& r) {
  say(fmt::format("end at step {} (parameters {})", r.step, r.parameter_hash));
  const nlohmann::ordered_json json = {{"event", "end"},
                                       {"step", r.step},
                                       {"parameter_hash", r.parameter_hash},
                                       {"planned_bytes", r.planned_bytes},
                                       {"peak_resident_bytes", r.peak_resident_bytes}};
  write_metrics(to_line(json));
}

void RunLog::say(const std::string& text) {
  if (progress_shown_) fmt::print("\r\033[K");
  progress_shown_ = false;
  // fmt::print throws where stdout takes nothing more. The run goes on: its files have all this.
  std::fputs((text + '\n').c_str(), stdout);
  std::fflush(stdout);
}

void RunLog::show_progress(const StepRecord& r) {
  if (!terminal_ || r.step == r.total_steps) return;
  constexpr std::int64_t kWidth = 30;
  const auto filled = static_cast<std::size_t>(kWidth * r.step / r.total_steps);
  const double left = r.seconds * static_cast<double>(r.total_steps - r.step);
  fmt::print("[{}{}] {:3}% about {:.0f} s left", std::string(filled, '#'),
             std::string(kWidth - filled, '.'), 100 * r.step / r.total_steps, left);
  std::fflush(stdout);
  progress_shown_ = true;
}

void RunLog::write_metrics(const std::string& json_line) {
  if (std::fprintf(metrics_, "%s\n", json_line.c_str()) < 0 || std::fflush(metrics_) != 0) {
    fail(metrics_path_, "write");
  }
}

void RunLog::write_main(const std::string& line) {
  if (std::fprintf(main_, "%s\n", line.c_str()) < 0 || std::fflush(main_) != 0) {
    fail(main_path_, "write");
  }
}

}  // namespace halfpipe::trace
