// SPDX-License-Identifier: Apache-2.0
#include "engine/config/validate_config.h"

#include "engine/config/key_table.h"
#include "engine/config/memory_limit.h"
#include "kernels/core/error.h"
#include "kernels/ops/matmul.h"
#include "parallel/schedule/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

namespace halfpipe::config {
namespace {

using Finding = std::optional<Violation>;

Finding single_keys(const RunConfig& config) {
  for (const Key& key : key_table()) {
    if (auto sentence = key.violation(config)) return Violation{{key.doc.path}, *sentence};
  }
  return std::nullopt;
}

Finding heads(const RunConfig& config) {
  const model::TransformerConfig& model = config.model;
  if (model.hidden_size % model.num_heads == 0) return std::nullopt;
  return Violation{{"model.hidden_size", "model.num_heads"},
                   fmt::format("model.hidden_size ({}) must be a multiple of model.num_heads ({})",
                               model.hidden_size, model.num_heads)};
}

Finding hardware(const RunConfig& config) {
  if (!is_modelled(config.device) || !config.device.hardware.empty()) return std::nullopt;
  return Violation{{"device.kind"},
                   "device.hardware is missing: device.kind modelled needs a hardware profile, as "
                   "configs/hardware/a100-80g.yaml"};
}

/// What ranks that share layers need, and what they do not go with yet.
Finding tensor_ranks(const RunConfig& config) {
  const int ranks = config.parallel.tensor;
  if (ranks == 1) return std::nullopt;
  if (config.model.num_heads % ranks != 0) {
    return Violation{{"parallel.tensor", "model.num_heads"},
                     fmt::format("model.num_heads ({}) must be a multiple of parallel.tensor ({}): "
                                 "heads are not divided",
                                 config.model.num_heads, ranks)};
  }
  const std::int64_t tokens = std::int64_t{config.train.micro_batch_size} * config.model.seq_len;
  if (tokens % ranks != 0) {
    return Violation{{"parallel.tensor", "train.micro_batch_size", "model.seq_len"},
                     fmt::format("train.micro_batch_size ({}) x model.seq_len ({}) must be a "
                                 "multiple of parallel.tensor ({}): each rank has as many tokens",
                                 config.train.micro_batch_size, config.model.seq_len, ranks)};
  }
  if (!config.device.cuda_graphs) return std::nullopt;
  return Violation{{"parallel.tensor", "device.cuda_graphs"},
                   fmt::format("parallel.tensor ({}): device.cuda_graphs does not exist with ranks "
                               "that share layers in this version; use 1",
                               ranks)};
}

Finding rank_count(const RunConfig& config) {
  const ParallelConfig& parallel = config.parallel;
  const std::int64_t ranks = std::int64_t{parallel.data} * parallel.pipeline;
  if (ranks * parallel.tensor <= kMostRanks) return std::nullopt;
  return Violation{{"parallel.data", "parallel.pipeline", "parallel.tensor"},
                   fmt::format("parallel.data ({}) x parallel.pipeline ({}) x parallel.tensor ({}) "
                               "are {} ranks; a job has at most {}",
                               parallel.data, parallel.pipeline, parallel.tensor,
                               ranks * parallel.tensor, kMostRanks)};
}

Finding waiting(const RunConfig& config) {
  if (!config.device.cuda_graphs || !config.debug.sync_kernels) return std::nullopt;
  return Violation{{"device.cuda_graphs", "debug.sync_kernels"},
                   "device.cuda_graphs and debug.sync_kernels are both true: operations of a graph "
                   "cannot be waited for one by one"};
}

Finding corpus(const RunConfig& config) {
  const data::DataConfig& data = config.data;
  const bool shards = !data.train_shards.empty() || !data.validation_shards.empty();
  // A device that computes nothing needs no data, but for a vocabulary that has to be counted.
  if (is_modelled(config.device) && config.model.vocab_size > 0 && data.text.empty() && !shards) {
    return std::nullopt;
  }
  if (data.text.empty() && !shards) {
    return Violation{{}, "data.text or data.shards is missing: name files to train on"};
  }
  if (!data.text.empty() && shards) {
    return Violation{{"data.shards.train", "data.shards.validation", "data.text"},
                     "data.text and data.shards are both set; exactly one of them is the corpus"};
  }
  if (shards && data.train_shards.empty()) {
    return Violation{{"data.shards.validation"},
                     "data.shards.train is missing: name token shards to train on"};
  }
  if (shards && data.vocabulary == "characters") {
    return Violation{{"data.vocabulary"},
                     "data.vocabulary (characters) must be a vocabulary file or absent with "
                     "data.shards; characters are found in data.text"};
  }
  return std::nullopt;
}

Finding vocabulary(const RunConfig& config) {
  constexpr int kBytes = 256;
  const int size = config.model.vocab_size;
  const bool bytes = !config.data.text.empty() && config.data.vocabulary == "bytes";
  if (!bytes || size == 0 || size >= kBytes) return std::nullopt;
  return Violation{{"model.vocab_size", "data.vocabulary"},
                   fmt::format("model.vocab_size ({}) must be at least {}, the number of tokens of "
                               "data.vocabulary bytes",
                               size, kBytes)};
}

Finding evaluation(const RunConfig& config) {
  const std::int64_t every = config.train.evaluate_every;
  if (every == 0 || is_modelled(config.device)) return std::nullopt;
  const bool from_text = !config.data.text.empty();
  if (from_text && config.data.validation_fraction == 0.0) {
    return Violation{{"data.validation_fraction", "train.evaluate_every"},
                     fmt::format("data.validation_fraction (0) must be above 0, since "
                                 "train.evaluate_every ({}) asks for evaluations; 0 there for none",
                                 every)};
  }
  if (!from_text && config.data.validation_shards.empty()) {
    return Violation{{"train.evaluate_every", "data.shards.train"},
                     fmt::format("data.shards.validation is missing, and train.evaluate_every ({}) "
                                 "asks for evaluations; 0 there for none",
                                 every)};
  }
  return std::nullopt;
}

Finding batch(const RunConfig& config) {
  const TrainConfig& train = config.train;
  const std::int64_t unit = std::int64_t{train.micro_batch_size} * config.parallel.data;
  if (train.global_batch_size % unit == 0) return std::nullopt;
  return Violation{
      {"train.global_batch_size", "train.micro_batch_size", "parallel.data"},
      fmt::format("train.global_batch_size ({}) must be a multiple of train.micro_batch_size ({}) "
                  "x parallel.data ({})",
                  train.global_batch_size, train.micro_batch_size, config.parallel.data)};
}

Finding learning_rate(const RunConfig& config) {
  const optimizer::OptimizerConfig& optimizer = config.optimizer;
  const bool decays = optimizer.schedule != optimizer::LearningRateSchedule::kConstant;
  if (decays && optimizer.min_learning_rate > optimizer.learning_rate) {
    return Violation{{"optimizer.min_learning_rate", "optimizer.learning_rate"},
                     fmt::format("optimizer.min_learning_rate ({}) must be at most "
                                 "optimizer.learning_rate ({})",
                                 optimizer.min_learning_rate, optimizer.learning_rate)};
  }
  if (optimizer.warmup_steps > config.train.steps) {
    return Violation{{"optimizer.warmup_steps", "train.steps"},
                     fmt::format("optimizer.warmup_steps ({}) must be at most train.steps ({})",
                                 optimizer.warmup_steps, config.train.steps)};
  }
  return std::nullopt;
}

std::int64_t stages_per_rank(const ScheduleConfig& schedule) {
  constexpr int kAnyRanks = 1;
  return schedule::placement_for(schedule.name, kAnyRanks, schedule.num_chunks).num_chunks();
}

Finding sum_of_layers(const RunConfig& config) {
  const std::vector<int>& layers = *config.parallel.layers_per_stage;
  const std::int64_t sum = std::accumulate(layers.begin(), layers.end(), std::int64_t{0});
  if (sum != config.model.num_layers) {
    return Violation{{"parallel.layers_per_stage", "model.num_layers"},
                     fmt::format("parallel.layers_per_stage sums to {} and must sum to "
                                 "model.num_layers ({})",
                                 sum, config.model.num_layers)};
  }
  return std::nullopt;
}

/// The search takes the number of chunks from the list.
Finding stages_of_search(const RunConfig& config) {
  const std::vector<int>& layers = *config.parallel.layers_per_stage;
  const auto ranks = static_cast<std::size_t>(config.parallel.pipeline);
  if (layers.empty() || layers.size() % ranks != 0) {
    return Violation{
        {"parallel.layers_per_stage", "parallel.pipeline"},
        fmt::format("parallel.layers_per_stage has {} numbers and must have a multiple "
                    "of parallel.pipeline ({}), as many stages on every rank",
                    layers.size(), ranks)};
  }
  return sum_of_layers(config);
}

Finding stages(const RunConfig& config) {
  if (!config.parallel.layers_per_stage) return std::nullopt;
  const std::vector<int>& layers = *config.parallel.layers_per_stage;
  if (config.schedule.name == "auto") return stages_of_search(config);
  const std::int64_t num_stages = config.parallel.pipeline * stages_per_rank(config.schedule);
  if (static_cast<std::int64_t>(layers.size()) != num_stages) {
    return Violation{
        {"parallel.layers_per_stage", "schedule.name", "parallel.pipeline", "schedule.num_chunks"},
        fmt::format("parallel.layers_per_stage has {} numbers and must have {}: schedule.name {} "
                    "cuts the model into {} per rank on {} pipeline ranks",
                    layers.size(), num_stages, config.schedule.name,
                    stages_per_rank(config.schedule), config.parallel.pipeline)};
  }
  return sum_of_layers(config);
}

Finding recompute(const RunConfig& config) {
  const std::size_t given = config.model.recompute.size();
  if (given <= 1) return std::nullopt;
  if (config.schedule.name == "auto") {
    return Violation{{"train.recompute", "schedule.name"},
                     "train.recompute is a list, one for each stage, and with schedule.name auto "
                     "nobody knows how many there will be: give one for all stages"};
  }
  const std::int64_t num_stages = config.parallel.pipeline * stages_per_rank(config.schedule);
  if (static_cast<std::int64_t>(given) == num_stages) return std::nullopt;
  return Violation{
      {"train.recompute", "schedule.name", "parallel.pipeline", "schedule.num_chunks"},
      fmt::format("train.recompute has {} entries and must have one, or {}: schedule.name {} cuts "
                  "the model into {} per rank on {} pipeline ranks",
                  given, num_stages, config.schedule.name, stages_per_rank(config.schedule),
                  config.parallel.pipeline)};
}

/// What a product with GELU needs, and what it does not go with.
Finding fused_gelu(const RunConfig& config) {
  if (!config.model.fused_gelu) return std::nullopt;
  const bool computed_again =
      std::ranges::any_of(config.model.recompute,
                          [](model::Recompute each) { return each != model::Recompute::kNone; });
  if (computed_again) {
    return Violation{
        {"device.fused_gelu", "train.recompute"},
        fmt::format("device.fused_gelu is true and train.recompute is {}: GELU that is "
                    "computed again has other bits; use none",
                    find_key_or_null("train.recompute")->write(config))};
  }
  const std::int64_t columns = config.model.mlp_size() / config.parallel.tensor;
  if (columns % ops::kGeluColumns == 0) return std::nullopt;
  return Violation{
      {"device.fused_gelu", "model.hidden_size", "parallel.tensor"},
      fmt::format(
          "device.fused_gelu is true, and 4 x model.hidden_size ({}) / parallel.tensor ({}), {}, "
          "must be a multiple of {}, as cuBLASLt has it",
          config.model.hidden_size, config.parallel.tensor, columns, ops::kGeluColumns)};
}

Finding replanning(const RunConfig& config) {
  const std::int64_t after = config.schedule.replan_after;
  if (after < config.train.steps) return std::nullopt;
  return Violation{{"schedule.replan_after", "train.steps"},
                   fmt::format("schedule.replan_after ({}) must be below train.steps ({}): no step "
                               "would be left for another plan",
                               after, config.train.steps)};
}

Finding memory_limit(const RunConfig& config) {
  const std::string& given = config.schedule.memory_limit;
  if (!given.empty() && !parse_memory_limit(given)) {
    return Violation{
        {"schedule.memory_limit"},
        fmt::format("schedule.memory_limit ({}) must be {}", given, kMemoryLimitForms)};
  }
  const std::vector<std::string>& by_rank = config.schedule.rank_memory_limits;
  if (by_rank.empty()) return std::nullopt;
  if (by_rank.size() != static_cast<std::size_t>(config.parallel.pipeline)) {
    return Violation{{"schedule.memory_limit", "parallel.pipeline"},
                     fmt::format("schedule.memory_limit has {} entries and must have one for each "
                                 "of parallel.pipeline ({}) ranks, or be one for all of them",
                                 by_rank.size(), config.parallel.pipeline)};
  }
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    if (parse_memory_limit(by_rank[rank])) continue;
    return Violation{{"schedule.memory_limit"},
                     fmt::format("schedule.memory_limit ({}) of rank {} must be {}", by_rank[rank],
                                 rank, kMemoryLimitForms)};
  }
  return std::nullopt;
}

/// Of auto, the fewest that it may choose.
std::int64_t num_stages_of(const RunConfig& config) {
  const std::optional<std::vector<int>>& layers = config.parallel.layers_per_stage;
  if (layers) return static_cast<std::int64_t>(layers->size());
  const bool searched = config.schedule.name == "auto";
  return config.parallel.pipeline * (searched ? 1 : stages_per_rank(config.schedule));
}

Finding plan_size(const RunConfig& config) {
  const std::int64_t num_stages = num_stages_of(config);
  const int m = config.num_micro_batches();
  if (is_plannable(num_stages, m)) return std::nullopt;
  const std::vector<std::string> of_stages{"parallel.pipeline", "parallel.layers_per_stage",
                                           "schedule.num_chunks"};
  if (num_stages > kMostStages) {
    return Violation{of_stages,
                     fmt::format("parallel.pipeline ({}) ranks with {} stages each make {} stages; "
                                 "a plan has at most {}",
                                 config.parallel.pipeline, num_stages / config.parallel.pipeline,
                                 num_stages, kMostStages)};
  }
  std::vector<std::string> keys{"train.global_batch_size", "train.micro_batch_size",
                                "parallel.data"};
  const std::string replicas =
      config.parallel.data == 1 ? "" : fmt::format(" / parallel.data ({})", config.parallel.data);
  keys.insert(keys.end(), of_stages.begin(), of_stages.end());
  return Violation{
      keys, fmt::format("train.global_batch_size ({}) / train.micro_batch_size ({}){} make {} "
                        "micro-batches; with {} stages on parallel.pipeline ({}) ranks a step is "
                        "{} passes (3 x stages x micro-batches), and a plan has at most {}",
                        config.train.global_batch_size, config.train.micro_batch_size, replicas, m,
                        num_stages, config.parallel.pipeline, 3 * num_stages * m, kMostPasses)};
}

}  // namespace

std::optional<Violation> find_violation(const RunConfig& config,
                                        std::span<const std::string> meant_anyway) {
  // Single keys first: the others divide by sizes that are known to be positive then.
  constexpr std::array kRules{single_keys,  hardware,   heads,         corpus,    vocabulary,
                              evaluation,   batch,      learning_rate, stages,    memory_limit,
                              plan_size,    replanning, waiting,       recompute, rank_count,
                              tensor_ranks, fused_gelu};
  for (const auto rule : kRules) {
    if (Finding violation = rule(config)) return violation;
  }
  return find_idle_key(config, [&](const Key& key) {
    return key.write(config) != key.doc.default_value &&
           std::ranges::find(meant_anyway, key.doc.path) == meant_anyway.end();
  });
}

bool is_plannable(std::int64_t num_stages, std::int64_t num_micro_batches) {
  return num_stages <= kMostStages && 3 * num_stages * num_micro_batches <= kMostPasses;
}

std::optional<Violation> find_idle_key(const RunConfig& config,
                                       const std::function<bool(const Key&)>& is_set) {
  for (const Key& key : key_table()) {
    if (!key.applies || key.applies(config) || !is_set(key)) continue;
    Violation violation{{key.doc.path},
                        fmt::format("{} ({}) has a meaning with {} only;", key.doc.path,
                                    key.write(config), key.applies_when)};
    const char* separator = "";
    for (const std::string& path : key.decided_by) {
      const Key& decider = *find_key_or_null(path);
      if (decider.applies && !decider.applies(config)) continue;
      violation.keys.push_back(path);
      violation.sentence += fmt::format("{} {} is {}", separator, path, decider.write(config));
      separator = ",";
    }
    return violation;
  }
  return std::nullopt;
}

void validate(const RunConfig& config) {
  if (const auto violation = find_violation(config)) throw ConfigError(violation->sentence);
}

}  // namespace halfpipe::config
