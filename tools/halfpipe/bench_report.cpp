// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/bench_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/model/model_cost.h"
#include "engine/runtime/planning/hardware.h"
#include "tools/halfpipe/aligned_table.h"
#include "tools/halfpipe/bench_figures.h"

namespace halfpipe::tools {

namespace {

using Json = nlohmann::ordered_json;

constexpr double kMebibyte = 1024.0 * 1024.0;

std::string mebibytes(std::int64_t bytes) {
  return fmt::format("{:.1f}", static_cast<double>(bytes) / kMebibyte);
}

/// What ratios are to: 1F1B if it ran, else the first schedule that did.
const BenchedSchedule* reference_of(const BenchReport& report) {
  const BenchedSchedule* first = nullptr;
  for (const BenchedSchedule& benched : report.schedules) {
    if (!benched.measured) continue;
    if (benched.title == "1f1b") return &benched;
    if (first == nullptr) first = &benched;
  }
  return first;
}

/// How a column is headed, and its text for a schedule that was run.
struct Column {
  std::string name;
  std::string (*text)(const BenchedSchedule& benched, const BenchFigures& figures);
};

const std::vector<Column>& columns() {
  using Figures = BenchFigures;
  using Benched = BenchedSchedule;
  static const std::vector<Column> all = {
      {"tok/s",
       [](const Benched&, const Figures& f) {
         return fmt::format("{:.0f}", f.throughput.tokens_per_second);
       }},
      {"per device",
       [](const Benched&, const Figures& f) {
         return fmt::format("{:.1f}", f.throughput.tokens_per_second_per_device);
       }},
      {"MFU",
       [](const Benched&, const Figures& f) {
         return f.throughput.mfu
                    ? fmt::format("{:.1f}%", 100.0 * *f.throughput.mfu)
                    : fmt::format("{:.3g} GF/s", 1e-9 * f.throughput.flops_per_second_per_device);
       }},
      {"step ms", [](const Benched&,
                     const Figures& f) { return fmt::format("{:.1f}", 1e3 * f.step_seconds); }},
      {"from - to",
       [](const Benched&, const Figures& f) {
         return fmt::format("{:.1f} - {:.1f}", 1e3 * f.fastest_seconds, 1e3 * f.slowest_seconds);
       }},
      {"span plan",
       [](const Benched& b, const Figures&) {
         return b.planned ? fmt::format("{:.1f}", 1e3 * b.planned->span) : "-";
       }},
      {"real",
       [](const Benched& b, const Figures&) {
         return fmt::format("{:.1f}", 1e3 * b.measured->timeline.span);
       }},
      {"ratio",
       [](const Benched& b, const Figures&) {
         return b.planned ? fmt::format("{:.4f}", b.measured->timeline.span / b.planned->span)
                          : "-";
       }},
      {"bubble plan",
       [](const Benched& b, const Figures&) {
         // Shares of work do not depend on its unit.
         const double planned =
             b.planned ? b.planned->bubble_fraction
                       : schedule::simulate(runtime::orders_of(b.job->training), b.job->costs)
                             .bubble_fraction;
         return fmt::format("{:.2f}%", 100.0 * planned);
       }},
      {"real",
       [](const Benched& b, const Figures&) {
         return fmt::format("{:.2f}%", 100.0 * b.measured->timeline.bubble_fraction);
       }},
      {"act. MiB plan",
       [](const Benched&, const Figures& f) { return mebibytes(f.planned_peak_bytes); }},
      {"real", [](const Benched&, const Figures& f) { return mebibytes(f.measured_peak_bytes); }},
      {"all MiB plan",
       [](const Benched&, const Figures& f) { return mebibytes(f.planned_total_bytes); }},
      {"real", [](const Benched&, const Figures& f) { return mebibytes(f.measured_total_bytes); }},
  };
  return all;
}

std::string milliseconds_or_dash(const std::optional<double>& seconds) {
  return seconds ? fmt::format("{:.1f}", 1e3 * *seconds) : "-";
}

/// Where every replica ran.
const std::vector<Column>& exchange_columns() {
  using Figures = BenchFigures;
  using Benched = BenchedSchedule;
  static const std::vector<Column> all = {
      {"exchange plan",
       [](const Benched&, const Figures& f) {
         return f.exchange ? milliseconds_or_dash(f.exchange->planned) : "-";
       }},
      {"exposed",
       [](const Benched&, const Figures& f) {
         return f.exchange ? milliseconds_or_dash(f.exchange->exposed.total()) : "-";
       }},
      {"hidden",
       [](const Benched&, const Figures& f) {
         const auto share = f.exchange ? f.exchange->hidden_share() : std::nullopt;
         return share ? fmt::format("{:.1f}%", 100.0 * *share) : "-";
       }},
  };
  return all;
}

std::string device_text(const config::RunConfig& config) {
  if (is_modelled(config.device)) return "modelled: " + config.device.profile->name;
  return config.device.kind;
}

std::string title_of(const BenchReport& report) {
  const config::RunConfig& config = report.config;
  std::string replicas;
  if (config.parallel.data > 1) {
    replicas = fmt::format("{} replicas{} of ", config.parallel.data,
                           !is_modelled(config.device)       ? ""
                           : report.num_running_replicas > 1 ? " (all run)"
                                                             : " (one runs)");
  }
  const std::string tensor =
      config.parallel.tensor == 1 ? "" : fmt::format(" of {} tensor ranks", config.parallel.tensor);
  return fmt::format(
      "{}{} pipeline ranks{}, {} micro-batches of {} x {} tokens, {:.4g} M parameters; {}",
      replicas, config.parallel.pipeline, tensor, config.num_micro_batches(),
      config.train.micro_batch_size, config.model.seq_len,
      1e-6 * static_cast<double>(model::num_parameters(config.model)), device_text(config));
}

/// For how long what replicas exchange was exposed under each schedule.
void add_exposed(const BenchReport& report, std::vector<std::string>& notes) {
  for (const BenchedSchedule& benched : report.schedules) {
    if (!benched.measured || !benched.measured->exposed) continue;
    const ExchangeFigures exchange = *figures_of(benched).exchange;
    std::string text = fmt::format("{}: gradients exposed for {:.2f} ms", benched.title,
                                   1e3 * exchange.exposed.gradients);
    if (report.config.optimizer.zero_stage > 0) {
      text += fmt::format(", parameters for {:.2f} ms", 1e3 * exchange.exposed.parameters);
    }
    if (exchange.busiest_adapter) {
      text += fmt::format("; the bytes alone take {:.2f} ms", 1e3 * *exchange.busiest_adapter);
    }
    notes.push_back(std::move(text));
  }
}

void add_exchange_notes(const BenchReport& report, std::vector<std::string>& notes) {
  const bool modelled = is_modelled(report.config.device);
  notes.push_back(fmt::format("replicas: all {} ran, and exchanged gradients{}{}",
                              report.num_running_replicas,
                              report.config.optimizer.zero_stage == 0 ? "" : " and parameters",
                              modelled ? " over modelled links" : ""));
  notes.push_back(fmt::format(
      "{}exposed (ms): for how long it was all that some rank had left to do (medians)",
      modelled ? "exchange (ms): planned, one bucket after another and the gradient of a tied "
                 "embedding; "
               : ""));
  if (modelled) {
    notes.push_back(
        "hidden behind passes, at least: 1 - exposed / what the bytes alone take of the busiest "
        "adapter");
  }
  add_exposed(report, notes);
}

std::vector<std::string> notes_of(const BenchReport& report) {
  std::vector<std::string> notes;
  for (const BenchedSchedule& benched : report.schedules) {
    if (!benched.measured) notes.push_back(benched.title + " was not run: " + benched.problem);
  }
  notes.push_back(fmt::format(
      "step: median, fastest and slowest of {} after {} to warm up, the slowest rank's, optimizer "
      "step included; tok/s by the median",
      report.steps.measured, report.steps.warm_up));
  notes.push_back(
      "span (ms): longest time of a rank from its first pass to its last; bubble: 1 - most work of "
      "a rank / span; of the median step");
  notes.push_back(fmt::format(
      "MFU: 6 N + 6 L C T FLOPs per token (N without position table, causal attention at half), {}",
      report.config.device.kind == "cpu" ? "per device and second, no peak known"
                                         : "of the data sheet's peak"));
  notes.push_back("act.: peak of live saved tensors; all: everything taken; fullest rank");
  if (is_modelled(report.config.device)) {
    notes.push_back(
        "modelled: passes and messages take the time of the hardware profile; plan, executor, "
        "messages between ranks and memory accounts are those of training");
  }
  if (report.num_running_replicas > 1) {
    add_exchange_notes(report, notes);
  } else if (report.config.parallel.data > 1) {
    notes.push_back(
        "replicas: one pipeline ran and stands for all; the exchange of gradients is a time of the "
        "hardware profile after its step");
  }
  if (report.config.parallel.tensor > 1 && is_modelled(report.config.device)) {
    notes.push_back(
        "tensor ranks: one of them ran and stands for all; what they exchange is a time of the "
        "hardware profile within its passes");
  }
  return notes;
}

Json by_rank(const std::vector<runtime::RankMemory>& ranks,
             std::int64_t (*bytes)(const runtime::RankMemory&)) {
  Json values = Json::array();
  for (const runtime::RankMemory& rank : ranks) values.push_back(bytes(rank));
  return values;
}

Json exchange_json(const BenchFigures& figures) {
  if (!figures.exchange) return nullptr;
  const ExchangeFigures& exchange = *figures.exchange;
  const auto or_null = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  return {{"planned", or_null(exchange.planned)},
          {"busiest_adapter", or_null(exchange.busiest_adapter)},
          {"exposed_gradients", exchange.exposed.gradients},
          {"exposed_parameters", exchange.exposed.parameters},
          {"hidden_share", or_null(exchange.hidden_share())}};
}

Json timeline_figures(const schedule::Timeline& timeline) {
  return {{"span", timeline.span},
          {"bubble", timeline.bubble_fraction},
          {"makespan", timeline.makespan}};
}

Json schedule_json(const BenchedSchedule& benched, double reference_tokens_per_second) {
  if (!benched.measured) return {{"schedule", benched.title}, {"problem", benched.problem}};
  const BenchFigures figures = figures_of(benched);
  const auto activations = [](const runtime::RankMemory& rank) { return rank.activations; };
  const auto total = [](const runtime::RankMemory& rank) { return rank.total(); };
  Json seconds = Json::array();
  for (const runtime::MeasuredStep& step : benched.measured->steps) seconds.push_back(step.seconds);
  return {{"schedule", benched.title},
          {"problem", nullptr},
          {"tokens_per_second", figures.throughput.tokens_per_second},
          {"tokens_per_second_per_device", figures.throughput.tokens_per_second_per_device},
          {"mfu", figures.throughput.mfu ? Json(*figures.throughput.mfu) : Json(nullptr)},
          {"ratio", figures.throughput.tokens_per_second / reference_tokens_per_second},
          {"step_seconds", std::move(seconds)},
          {"step_seconds_median", figures.step_seconds},
          {"planned", benched.planned ? timeline_figures(*benched.planned) : Json(nullptr)},
          {"measured", timeline_figures(benched.measured->timeline)},
          {"peak_activation_bytes",
           {{"planned", by_rank(benched.planned_memory, activations)},
            {"measured", by_rank(benched.measured->memory, activations)}}},
          {"total_bytes",
           {{"planned", by_rank(benched.planned_memory, total)},
            {"measured", by_rank(benched.measured->memory, total)}}},
          {"instructions", figures.num_instructions},
          {"host_cpu_seconds", figures.host_cpu_seconds},
          {"exchange", exchange_json(figures)}};
}

}  // namespace

page::PageTable bench_table(const BenchReport& report) {
  page::PageTable table;
  table.columns = {"schedule"};
  std::vector<Column> shown = columns();
  if (report.num_running_replicas > 1) {
    shown.insert(shown.end(), exchange_columns().begin(), exchange_columns().end());
  }
  for (const Column& column : shown) table.columns.push_back(column.name);
  const BenchedSchedule* const reference = reference_of(report);
  if (reference != nullptr) table.columns.push_back("vs " + reference->title);
  for (const BenchedSchedule& benched : report.schedules) {
    if (!benched.measured) continue;
    const BenchFigures figures = figures_of(benched);
    std::vector<std::string>& row = table.rows.emplace_back();
    row.push_back(benched.title);
    for (const Column& column : shown) row.push_back(column.text(benched, figures));
    row.push_back(fmt::format("{:.3f}", figures.throughput.tokens_per_second /
                                            figures_of(*reference).throughput.tokens_per_second));
  }
  table.notes = notes_of(report);
  return table;
}

std::string bench_text(const BenchReport& report) {
  const page::PageTable table = bench_table(report);
  std::string text = title_of(report) + '\n' + aligned_table(table.columns, table.rows, {0});
  for (const std::string& note : table.notes) text += "  " + note + '\n';
  return text;
}

std::string bench_json(const BenchReport& report) {
  const config::RunConfig& config = report.config;
  const BenchedSchedule* const reference = reference_of(report);
  const double reference_rate =
      reference == nullptr ? 1.0 : figures_of(*reference).throughput.tokens_per_second;
  const std::optional<double> peak = runtime::peak_flops_per_second_of(config);
  Json schedules = Json::array();
  for (const BenchedSchedule& benched : report.schedules) {
    schedules.push_back(schedule_json(benched, reference_rate));
  }
  const Json json = {
      {"device", {{"kind", config.device.kind}, {"name", device_text(config)}}},
      {"ranks", config.parallel.pipeline},
      {"devices", num_devices(config)},
      {"replicas", {{"all", config.parallel.data}, {"run", report.num_running_replicas}}},
      {"micro_batches", config.num_micro_batches()},
      {"tokens_per_step", static_cast<double>(config.tokens_per_step())},
      {"model",
       {{"num_parameters", model::num_parameters(config.model)},
        {"flops_per_token", model::model_flops_per_token(config.model)}}},
      {"peak_flops_per_second", peak ? Json(*peak) : Json(nullptr)},
      {"warm_up_steps", report.steps.warm_up},
      {"ratio_to", reference == nullptr ? Json(nullptr) : Json(reference->title)},
      {"schedules", std::move(schedules)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string bench_page(const BenchReport& report) {
  page::TimelinePage page{title_of(report), {}, {}, bench_table(report)};
  for (const BenchedSchedule& benched : report.schedules) {
    if (!benched.measured) continue;
    const auto add = [&](const std::string& what, const schedule::Timeline& timeline) {
      page::PageSchedule shown{benched.title + ", " + what, timeline, benched.job->costs};
      shown.memory_measure = page::MemoryMeasure::kBytes;
      page.schedules.push_back(std::move(shown));
    };
    if (benched.planned) add("planned", *benched.planned);
    add("measured", benched.measured->timeline);
  }
  return page::render_timeline_page(page);
}

}  // namespace halfpipe::tools
