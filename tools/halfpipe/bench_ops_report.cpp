// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/bench_ops_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "tools/halfpipe/aligned_table.h"

namespace halfpipe::tools {

namespace {

using Json = nlohmann::ordered_json;
using ops_bench::Ceiling;
using ops_bench::kCopiedBytes;
using ops_bench::MeasuredOp;
using ops_bench::ModelShape;
using ops_bench::Timing;

const char* name_of(Ceiling ceiling) {
  return ceiling == Ceiling::kCopy ? "copy" : "product";
}

std::string title_of(const OpsReport& report) {
  const ModelShape& m = report.model;
  return fmt::format(
      "operations of a GPT, B {}, T {}, C {}, NH {}, V {}, {:.4g} M parameters, {}; {}", m.B, m.T,
      m.C, m.NH, m.V, 1e-6 * static_cast<double>(m.num_parameters), name_of(m.dtype),
      report.device == "cpu"
          ? fmt::format("cpu, {} thread{}", report.threads, report.threads == 1 ? "" : "s")
          : report.device);
}

std::vector<std::string> row_of(const MeasuredOp& op, const ops_bench::Ceilings& ceilings) {
  return {op.operation,
          op.shape,
          fmt::format("{:.3f}", 1e3 * op.timing.seconds),
          fmt::format("{:.1f}", 1e-9 * op.bytes_per_second()),
          op.cost.flops > 0.0 ? fmt::format("{:.1f}", 1e-9 * op.flops_per_second()) : "-",
          fmt::format("{:.0f}%", 100.0 * op.share_of(ceilings)),
          name_of(op.ceiling)};
}

std::vector<std::string> notes_of(const OpsReport& report) {
  constexpr double kMebibyte = 1024.0 * 1024.0;
  const ops_bench::Ceilings& ceilings = report.ceilings;
  std::vector<std::string> notes;
  notes.push_back(
      fmt::format("ms: median of the runs in {:g} s, at least 5, after a tenth of that to warm up",
                  report.seconds_per_op));
  notes.push_back(
      "GB/s: every operand and result moved once, accumulated ones twice; GFLOP/s: of matrix "
      "products, two per multiply-add, causal attention at half");
  notes.push_back(
      "shape: M x N x K of products; rows and columns, or B, T, heads and head size, of others");
  notes.push_back(fmt::format(
      "slice, sum_parts, cross_entropy_statistics and _of_slice: of one of {} tensor ranks; all "
      "others of a rank that shares nothing",
      report.model.num_tensor_ranks));
  notes.push_back(
      fmt::format("copy: {:.1f} GB/s, read and written, of a copy of {:.0f} MiB ({:.3f} ms)",
                  1e-9 * ceilings.bytes_per_second(), static_cast<double>(kCopiedBytes) / kMebibyte,
                  1e3 * ceilings.copy.seconds));
  notes.push_back(fmt::format("product: {:.1f} GFLOP/s, of {} x {} x {} in {} ({:.3f} ms)",
                              1e-9 * ceilings.flops_per_second(), ceilings.product_size,
                              ceilings.product_size, ceilings.product_size,
                              name_of(report.model.dtype), 1e3 * ceilings.product.seconds));
  notes.push_back("after the last operation: " + ceilings_text(report.ceilings_after) +
                  "; where that is far off, the machine had other work and shares mean little");
  notes.push_back(
      "operands that fit in the caches may exceed the copy's bandwidth; so may operations that "
      "read "
      "what they overwrite: a copy fetches the lines it overwrites, too, and that is not counted");
  return notes;
}

Json timing_json(const Timing& timing) {
  return {{"repetitions", timing.repetitions}, {"seconds", timing.seconds}};
}

Json ceilings_json(const ops_bench::Ceilings& ceilings) {
  Json copy = {{"bytes", 2 * kCopiedBytes}};
  copy.update(timing_json(ceilings.copy));
  copy["bytes_per_second"] = ceilings.bytes_per_second();
  Json product = {
      {"M", ceilings.product_size}, {"N", ceilings.product_size}, {"K", ceilings.product_size}};
  product.update(timing_json(ceilings.product));
  product["flops_per_second"] = ceilings.flops_per_second();
  return {{"copy", std::move(copy)}, {"product", std::move(product)}};
}

Json op_json(const MeasuredOp& op, const ops_bench::Ceilings& ceilings) {
  Json json = {{"operation", op.operation}, {"family", op.family}, {"shape", op.shape}};
  json.update(timing_json(op.timing));
  json.update(Json{{"bytes", op.cost.bytes},
                   {"flops", op.cost.flops},
                   {"bytes_per_second", op.bytes_per_second()},
                   {"flops_per_second", op.flops_per_second()},
                   {"share", op.share_of(ceilings)},
                   {"of", name_of(op.ceiling)}});
  return json;
}

}  // namespace

std::string ceilings_text(const ops_bench::Ceilings& ceilings) {
  return fmt::format("copy {:.1f} GB/s, product {:.1f} GFLOP/s", 1e-9 * ceilings.bytes_per_second(),
                     1e-9 * ceilings.flops_per_second());
}

std::string ops_text(const OpsReport& report) {
  constexpr std::size_t kOperation = 0;
  constexpr std::size_t kShape = 1;
  constexpr std::size_t kOf = 6;
  std::vector<std::vector<std::string>> rows;
  for (const MeasuredOp& op : report.ops) rows.push_back(row_of(op, report.ceilings));
  std::string text = title_of(report) + '\n' +
                     aligned_table({"operation", "shape", "ms", "GB/s", "GFLOP/s", "share", "of"},
                                   rows, {kOperation, kShape, kOf});
  for (const std::string& note : notes_of(report)) text += "  " + note + '\n';
  return text;
}

std::string ops_json(const OpsReport& report) {
  const ModelShape& m = report.model;
  Json operations = Json::array();
  for (const MeasuredOp& op : report.ops) operations.push_back(op_json(op, report.ceilings));
  const Json json = {{"device", {{"kind", report.device}, {"threads", report.threads}}},
                     {"model",
                      {{"B", m.B},
                       {"T", m.T},
                       {"C", m.C},
                       {"NH", m.NH},
                       {"F", m.F},
                       {"V", m.V},
                       {"num_parameters", m.num_parameters},
                       {"bias", m.bias},
                       {"tie_embeddings", m.tied},
                       {"tensor_ranks", m.num_tensor_ranks},
                       {"dtype", name_of(m.dtype)}}},
                     {"seconds_per_operation", report.seconds_per_op},
                     {"ceilings", ceilings_json(report.ceilings)},
                     {"ceilings_after", ceilings_json(report.ceilings_after)},
                     {"operations", std::move(operations)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace halfpipe::tools
