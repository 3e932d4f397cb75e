// SPDX-License-Identifier: Apache-2.0
// halfpipe bench ops: every operation of a model by itself, against what the device can do.
#include "tools/halfpipe/bench_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/config/load_config.h"
#include "engine/model/model_cost.h"
#include "engine/model/tensor_shard.h"
#include "engine/runtime/ranks/host_cores.h"
#include "engine/runtime/training/start_report.h"
#include "engine/runtime/training/training_inputs.h"
#include "kernels/core/error.h"
#include "tools/halfpipe/bench_ops_report.h"
#include "tools/halfpipe/devices.h"
#include "tools/halfpipe/option_checks.h"
#include "tools/halfpipe/write_output.h"
#include "tools/ops_bench/step_cases.h"

namespace halfpipe::tools {

namespace {

constexpr double kMostSeconds = 3600.0;

struct Options {
  std::string config;  // empty: default_config
  std::vector<std::string> settings;
  std::optional<int> threads;  // 0: as threads_per_rank: auto
  double seconds = 0.3;
  std::string json;
};

/// A small GPT over bytes, of 10.8 M parameters: what trains well on a few cores.
config::RunConfig default_config() {
  config::RunConfig config;
  config.model.num_layers = 6;
  config.model.num_heads = 6;
  config.model.hidden_size = 384;
  config.model.seq_len = 256;
  config.model.vocab_size = 256;
  config.train.micro_batch_size = 8;
  return config;
}

config::RunConfig read_config(const Options& options) {
  if (options.config.empty()) return default_config();
  config::RunConfig config = config::load_config(options.config, options.settings);
  if (is_modelled(config.device)) {
    throw ConfigError(
        "device.kind (modelled) computes nothing, so no operation of it can be measured; halfpipe "
        "bench CONFIG and halfpipe plan take it");
  }
  if (config.model.vocab_size == 0) runtime::open_training_data(config);
  return config;
}

ops_bench::ModelShape shape_of(const config::RunConfig& config) {
  const model::TransformerConfig& model = config.model;
  const model::TensorShard shard{.ranks = std::max(2, config.parallel.tensor), .rank = 0};
  return {.B = config.train.micro_batch_size,
          .T = model.seq_len,
          .C = model.hidden_size,
          .NH = model.num_heads,
          .F = model.mlp_size(),
          .V = model.vocab_size,
          .num_parameters = model::num_parameters(model),
          .bias = model.bias,
          .tied = model.tie_embeddings,
          .dtype = model.dtype,
          .moment_dtype = config.optimizer.moments,
          .fused_gelu = model.fused_gelu,
          .fused_bias_gradient = model.fused_bias_gradient,
          .num_tensor_ranks = shard.ranks,
          .slice_rows = model::vocabulary_rows(model.vocab_size, shard)};
}

OpsReport measure(const Options& options, config::RunConfig config) {
  if (options.threads && config.device.kind != "cpu") {
    throw ConfigError(
        fmt::format("--threads ({}) has a meaning with device.kind cpu only; "
                    "device.kind is {}",
                    *options.threads, config.device.kind));
  }
  if (options.threads) config.device.threads_per_rank = *options.threads;
  const runtime::RankThreads threads = runtime::own_threads(config.device);
  settle_device(config, 0);
  const std::unique_ptr<device::Backend> backend = make_backend(config, threads, 0);
  const std::unique_ptr<device::Stream> stream = backend->make_stream("operations");
  if (config.device.tune) {
    HALFPIPE_CHECK(backend->tuner_or_null() != nullptr, "device.tune without anything to choose");
    backend->tuner_or_null()->begin_measuring();  // each operation is met once before it is timed
  }
  OpsReport report{
      shape_of(config), config.device.kind, threads.count, options.seconds, {}, {}, {}};
  report.ceilings =
      ops_bench::measure_ceilings(*backend, *stream, report.model.dtype, options.seconds);
  fmt::print(stderr, "bench ops: {}\n", ceilings_text(report.ceilings));
  if (config.device.kind == "cuda") {
    fmt::print(stderr, "bench ops: {}\n", runtime::attention_in_words(config.device));
  }
  for (const ops_bench::OpCase& op : ops_bench::step_cases(report.model)) {
    report.ops.push_back(ops_bench::measure_op(op, *backend, *stream, options.seconds));
  }
  report.ceilings_after =
      ops_bench::measure_ceilings(*backend, *stream, report.model.dtype, options.seconds);
  return report;
}

void bench_ops(const Options& options) {
  const OpsReport report = measure(options, read_config(options));
  fmt::print("{}", options.json == "-" ? ops_json(report) : ops_text(report));
  if (!options.json.empty() && options.json != "-") write_output(options.json, ops_json(report));
}

/// `halfpipe bench --steps 3 ops`: an option of `bench` would be passed over.
void refuse_options_before(const CLI::App& bench) {
  for (const CLI::Option* option : bench.get_options()) {
    if (option->count() == 0) continue;
    throw ConfigError(fmt::format(
        "{} means nothing before ops: halfpipe bench ops has options of its own, after that word",
        option->get_name()));
  }
}

}  // namespace

CLI::App* add_bench_ops(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "ops", "Measure every operation of a model against copy bandwidth and matrix-product peak");
  const auto options = std::make_shared<Options>();
  CLI::Option* const config = command->add_option(
      "config", options->config,
      "YAML file: model, train.micro_batch_size, train.precision, optimizer.moments, device, and "
      "parallel.tensor for what tensor ranks run, count of it (default: 6 blocks, width 384, 6 "
      "heads, 256 tokens, 8 sequences, vocabulary of 256)");
  config->check(not_empty());
  command->add_option("--set", options->settings, "section.key=value; may be repeated")
      ->allow_extra_args(false)
      ->needs(config);
  command
      ->add_option("--threads", options->threads,
                   "Threads of the CPU; 0: all CPUs that the process may use, or OMP_NUM_THREADS "
                   "(default: those of the file)")
      ->check(CLI::Range(0, config::kMostThreads));
  command
      ->add_option("--seconds", options->seconds,
                   "Time for each operation; it is run 5 times at least")
      ->check(number_from(0.0, kMostSeconds))
      ->capture_default_str();
  command->add_option("--json", options->json, "Write all figures as JSON; -: print that only")
      ->check(not_empty());
  command->footer(
      "Examples:\n"
      "  halfpipe bench ops\n"
      "  halfpipe bench ops configs/quickstart.yaml --threads 1 --json ops.json\n"
      "docs/benchmarking.md says what the figures mean.");
  command->callback([&bench, options] {
    refuse_options_before(bench);
    bench_ops(*options);
  });
  return command;
}

}  // namespace halfpipe::tools
