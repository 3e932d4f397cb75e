// SPDX-License-Identifier: Apache-2.0
// halfpipe evaluate: mean loss of a checkpoint on a text.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/sampler.h"
#include "engine/model/loss_evaluator.h"
#include "kernels/core/error.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/inference_device.h"
#include "tools/halfpipe/loaded_model.h"

namespace halfpipe::tools {

namespace {

constexpr std::int64_t kWindowsAtOnce = 4;

struct Options {
  std::string checkpoint;
  std::vector<std::string> text;
  InferenceDevice device;
  bool json = false;
};

void evaluate(const Options& options) {
  const LoadedModel model = open_whole_model(options.checkpoint);
  const auto tokens = data::open_text(model.text_vocabulary(), options.text, "--text");
  if (tokens->size() < 2) {
    throw FileError(fmt::format("--text ({}): {} tokens, at least 2 are needed to predict one",
                                fmt::join(options.text, ", "), tokens->size()));
  }
  data::check_tokens(*tokens, model.config.vocab_size);
  const data::EvaluationWindows windows(tokens->size(), model.config.seq_len, 0,
                                        data::PartialWindow::kKeep);

  const auto backend = make_backend(options.device);
  model::LossEvaluator evaluator(model.config, *backend, kWindowsAtOnce);
  model.load_into(evaluator.parameters(), *backend);

  std::vector<std::int32_t> inputs(static_cast<std::size_t>(kWindowsAtOnce * model.config.seq_len));
  std::vector<std::int32_t> targets(inputs.size());
  double sum = 0.0;
  std::int64_t num_tokens = 0;
  for (std::int64_t first = 0; first < windows.num_windows(); first += kWindowsAtOnce) {
    windows.fill({first, kWindowsAtOnce}, *tokens, inputs, targets);
    std::int64_t counted = 0;
    for (std::int64_t i = 0; i < kWindowsAtOnce; ++i) counted += windows.num_targets(first + i);
    sum += evaluator.sum_of_losses(inputs, targets, counted);
    num_tokens += counted;
  }
  const double loss = sum / static_cast<double>(num_tokens);
  if (!std::isfinite(loss)) {
    throw RuntimeFailure(
        fmt::format("{}: the loss is not finite ({})", model.directory.string(), loss));
  }
  if (options.json) {
    const nlohmann::ordered_json json = {{"checkpoint", model.directory.string()},
                                         {"loss", loss},
                                         {"perplexity", std::exp(loss)},
                                         {"tokens", num_tokens},
                                         {"device", options.device.kind}};
    // A path may hold bytes that are not UTF-8, which JSON cannot.
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    fmt::print("loss {:.6f} nats per token (perplexity {:.4f}) over {} tokens\n", loss,
               std::exp(loss), num_tokens);
  }
}

}  // namespace

void add_evaluate(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("evaluate", "Mean loss of a checkpoint on a text, in nats per token");
  const auto options = std::make_shared<Options>();
  command
      ->add_option("checkpoint", options->checkpoint,
                   "A run's output.dir (its latest checkpoint) or a checkpoint")
      ->required();
  command->add_option("--text", options->text, "File, folder or glob; may be repeated")
      ->required()
      ->allow_extra_args(false);
  add_device_options(*command, options->device);
  command->add_flag("--json", options->json, "Print one JSON object");
  command->footer(
      "Windows of seq_len tokens, one after the other, the last one shorter: every token but the "
      "first is predicted exactly once.\n"
      "Examples:\n"
      "  halfpipe evaluate runs/quickstart --text held_out.txt --json\n"
      "  halfpipe evaluate runs/gpt2-124m-gpu1 --text held_out.txt --device cuda");
  command->callback([options] { evaluate(*options); });
}

}  // namespace halfpipe::tools
