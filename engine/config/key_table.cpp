// SPDX-License-Identifier: Apache-2.0
#include "engine/config/key_table.h"

#include "engine/data/data_config.h"
#include "engine/model/recompute.h"
#include "engine/model/transformer_config.h"
#include "kernels/core/error.h"
#include "parallel/schedule/catalogue.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

namespace halfpipe::config {
namespace {

// Far above any model or machine, and low enough that products of two of them fit 64 bits and
// 4 x hidden_size fits an int.
constexpr int kLargestSize = 1 << 24;

/// The key has a meaning only where `applies` holds, which `decided_by` decides.
Key only_with(Key key,
              std::vector<std::string> decided_by,
              std::string applies_when,
              std::function<bool(const RunConfig&)> applies) {
  key.decided_by = std::move(decided_by);
  key.applies_when = std::move(applies_when);
  key.applies = std::move(applies);
  return key;
}

void add_model_keys(std::vector<Key>& keys) {
  using model::TransformerConfig;
  const auto of = [](auto member) { return field(&RunConfig::model, member); };
  keys.push_back(choice("model.family", of(&TransformerConfig::family), {"gpt2"}, {},
                        "architecture of the transformer"));
  keys.push_back(whole_number<int>("model.num_layers", of(&TransformerConfig::num_layers),
                                   {1, kLargestSize}, "transformer blocks"));
  keys.push_back(whole_number<int>("model.num_heads", of(&TransformerConfig::num_heads),
                                   {1, kLargestSize}, "attention heads; divides hidden_size"));
  keys.push_back(whole_number<int>("model.hidden_size", of(&TransformerConfig::hidden_size),
                                   {1, kLargestSize}, "width of the residual stream"));
  keys.push_back(whole_number<int>("model.seq_len", of(&TransformerConfig::seq_len),
                                   {1, kLargestSize},
                                   "tokens per training sequence; the longest context"));
  keys.push_back(whole_number_or_auto("model.vocab_size", of(&TransformerConfig::vocab_size),
                                      data::kMaxVocabSize,
                                      "rows of the token embedding; auto: the data's vocabulary"));
  keys.push_back(
      flag("model.bias", of(&TransformerConfig::bias), "biases in linear layers and LayerNorms"));
  keys.push_back(flag("model.tie_embeddings", of(&TransformerConfig::tie_embeddings),
                      "the head uses the token embedding's weights"));
  keys.push_back(
      text_or_null("model.init_from", of(&TransformerConfig::init_from),
                   "a GPT-2 directory of Hugging Face or of a run to start from; null: random"));
}

void add_data_keys(std::vector<Key>& keys) {
  using data::DataConfig;
  const auto of = [](auto member) { return field(&RunConfig::data, member); };
  keys.push_back(text_list("data.text", of(&DataConfig::text),
                           "files, folders or globs of plain text; this or data.shards"));
  keys.push_back(text_or_null("data.shards.train", of(&DataConfig::train_shards),
                              "glob of token shards (llm.c or nanoGPT files) to train on"));
  keys.push_back(text_or_null("data.shards.validation", of(&DataConfig::validation_shards),
                              "glob of token shards to evaluate on"));
  const auto from_text = [](const RunConfig& c) {
    return c.data.train_shards.empty() && c.data.validation_shards.empty();
  };
  // Shards have their vocabulary beside them, or in a file that the key names.
  keys.push_back(only_with(text("data.vocabulary", of(&DataConfig::vocabulary),
                                "bytes, characters, or the path of a vocabulary file"),
                           {"data.text"}, "data.text", [=](const RunConfig& c) {
                             return from_text(c) || c.data.vocabulary != DataConfig{}.vocabulary;
                           }));
  keys.push_back(
      only_with(real_number("data.validation_fraction", of(&DataConfig::validation_fraction),
                            {0.0, true, 1.0, false},
                            "part of the text, taken from its end, kept for evaluation"),
                {"data.text"}, "data.text", from_text));
}

/// Which of the two types that numbers are kept in.
Field<std::string> element_type(const Field<DType>& dtype) {
  return {[=](const RunConfig& c) {
            return std::string(dtype.get(c) == DType::kBFloat16 ? "bf16" : "float32");
          },
          [=](RunConfig& c, const std::string& name) {
            dtype.set(c, name == "bf16" ? DType::kBFloat16 : DType::kFloat32);
          }};
}

/// One list for all stages and a list of one are the same; no list is the default.
Field<std::vector<std::string>> recompute() {
  return {[](const RunConfig& c) {
            std::vector<std::string> names;
            for (const model::Recompute each : c.model.recompute) {
              names.emplace_back(model::name_of(each));
            }
            if (names.empty()) names.emplace_back(model::name_of(model::Recompute::kNone));
            return names;
          },
          [](RunConfig& c, const std::vector<std::string>& names) {
            c.model.recompute.clear();
            for (const std::string& name : names) {
              c.model.recompute.push_back(model::recompute_named(name));
            }
            if (c.model.recompute == std::vector{model::Recompute::kNone}) {
              c.model.recompute.clear();
            }
          }};
}

void add_train_keys(std::vector<Key>& keys) {
  const auto of = [](auto member) { return field(&RunConfig::train, member); };
  keys.push_back(whole_number<std::int64_t>("train.steps", of(&TrainConfig::steps), {1},
                                            "optimizer steps of the whole run"));
  keys.push_back(whole_number<int>("train.micro_batch_size", of(&TrainConfig::micro_batch_size),
                                   {1, kLargestSize}, "sequences per micro-batch"));
  keys.push_back(whole_number<int>("train.global_batch_size", of(&TrainConfig::global_batch_size),
                                   {1, kLargestSize}, "sequences per optimizer step"));
  keys.push_back(whole_number<std::uint64_t>(
      "train.seed", of(&TrainConfig::seed), {0},
      "of initial weights, of the order of the data and of stochastic rounding"));
  // Held by the model, whose layers it shapes.
  const Field<DType> dtype = field(&RunConfig::model, &model::TransformerConfig::dtype);
  keys.push_back(choice(
      "train.precision", element_type(dtype), {"float32", "bf16"},
      {{"float16", "loss scaling"}, {"fp8", "scaling of 8-bit numbers"}},
      "of activations, messages and the weights that passes read; master weights, gradients of "
      "parameters, sums, norms, softmax and loss are float32 always"));
  keys.push_back(whole_number<std::int64_t>("train.evaluate_every",
                                            of(&TrainConfig::evaluate_every), {0},
                                            "steps between evaluations; 0: never"));
  keys.push_back(only_with(
      whole_number<int>("train.evaluate_batches", of(&TrainConfig::evaluate_batches),
                        {0, kLargestSize}, "global batches per evaluation; 0: the whole split"),
      {"train.evaluate_every"}, "train.evaluate_every above 0",
      [](const RunConfig& c) { return c.train.evaluate_every > 0; }));
  keys.push_back(choice_for_all_or_each(
      "train.recompute", recompute(), {"none", "selective", "full"},
      "what backward passes compute again instead of keeping it: attention, norms and GELU "
      "(selective) or all but the input of each block (full); a list has one for each stage"));
}

using optimizer::LearningRateSchedule;

constexpr std::array<std::pair<LearningRateSchedule, std::string_view>, 4> kScheduleNames{{
    {LearningRateSchedule::kConstant, "constant"},
    {LearningRateSchedule::kCosine, "cosine"},
    {LearningRateSchedule::kLinear, "linear"},
    {LearningRateSchedule::kWarmupStableDecay, "warmup-stable-decay"},
}};

Field<std::string> schedule_name_field() {
  return {[](const RunConfig& c) -> std::string {
            for (const auto& [schedule, name] : kScheduleNames) {
              if (schedule == c.optimizer.schedule) return std::string(name);
            }
            fail_check("schedule has a name", "a learning-rate schedule is missing in the table");
          },
          [](RunConfig& c, const std::string& given) {
            for (const auto& [schedule, name] : kScheduleNames) {
              if (name == given) c.optimizer.schedule = schedule;
            }
          }};
}

void add_optimizer_keys(std::vector<Key>& keys) {
  using optimizer::OptimizerConfig;
  const auto of = [](auto member) { return field(&RunConfig::optimizer, member); };
  keys.push_back(single_value("optimizer.name", "name", "adamw", "another optimizer",
                              "AdamW with decoupled weight decay (arXiv:1711.05101)"));
  keys.push_back(real_number("optimizer.learning_rate", of(&OptimizerConfig::learning_rate),
                             {0.0, false}, "peak, after warmup"));
  const auto follows = [](LearningRateSchedule schedule) {
    return [=](const RunConfig& c) { return c.optimizer.schedule == schedule; };
  };
  keys.push_back(
      only_with(real_number("optimizer.min_learning_rate", of(&OptimizerConfig::min_learning_rate),
                            {0.0, true}, "at the last step; not used by schedule constant"),
                {"optimizer.schedule"}, "an optimizer.schedule that decays",
                std::not_fn(follows(LearningRateSchedule::kConstant))));
  std::vector<std::string> names;
  for (const auto& [schedule, name] : kScheduleNames) names.emplace_back(name);
  keys.push_back(choice("optimizer.schedule", schedule_name_field(), names, {},
                        "course of the learning rate after warmup"));
  keys.push_back(whole_number<std::int64_t>("optimizer.warmup_steps",
                                            of(&OptimizerConfig::warmup_steps), {0},
                                            "steps of linear growth to learning_rate"));
  keys.push_back(
      only_with(real_number("optimizer.decay_fraction", of(&OptimizerConfig::decay_fraction),
                            {0.0, false, 1.0, true},
                            "part of the steps that warmup-stable-decay decays over"),
                {"optimizer.schedule"}, "optimizer.schedule warmup-stable-decay",
                follows(LearningRateSchedule::kWarmupStableDecay)));
  keys.push_back(real_number("optimizer.beta1", of(&OptimizerConfig::beta1),
                             {0.0, true, 1.0, false}, "decay of the mean of gradients"));
  keys.push_back(real_number("optimizer.beta2", of(&OptimizerConfig::beta2),
                             {0.0, true, 1.0, false}, "decay of the mean of squared gradients"));
  keys.push_back(real_number("optimizer.epsilon", of(&OptimizerConfig::epsilon), {0.0, false},
                             "added to the root of the mean of squares"));
  keys.push_back(real_number("optimizer.weight_decay", of(&OptimizerConfig::weight_decay),
                             {0.0, true}, "on matrices and embeddings only"));
  keys.push_back(real_number("optimizer.clip_grad_norm", of(&OptimizerConfig::clip_grad_norm),
                             {0.0, true},
                             "largest global L2 norm of the gradient; 0: no clipping"));
  keys.push_back(choice("optimizer.moments", element_type(of(&OptimizerConfig::moments)),
                        {"float32", "bf16"}, {},
                        "of both means; bf16: half their memory, rounded up or down by chance so "
                        "that small changes are not lost"));
  keys.push_back(single_value("optimizer.zero_stage", "whole number", "0",
                              "an optimizer sharded over replicas",
                              "optimizer states sharded over data-parallel replicas"));
  keys.push_back(choice("optimizer.post_validation", of(&OptimizerConfig::post_validation),
                        {"auto", "off"}, {{"on", "stepping before the norm is known everywhere"}},
                        "off: steps wait for the global norm; auto: the same, so far"));
}

void add_search_keys(std::vector<Key>& keys) {
  const auto of = [](auto member) { return field(&RunConfig::schedule, member); };
  keys.push_back(only_with(
      flag("schedule.exact", of(&ScheduleConfig::exact),
           "keep the textbook order, made for equal costs; false: improve it for those of the "
           "stages, in the same memory"),
      {"schedule.name"}, "schedule.name 1f1b-v, v-min, v-half or w4",
      [](const RunConfig& c) { return schedule::is_made_for_equal_costs(c.schedule.name); }));
  keys.push_back(only_with(
      text_for_all_or_each(
          "schedule.memory_limit", of(&ScheduleConfig::memory_limit),
          of(&ScheduleConfig::rank_memory_limits),
          "most activation memory per rank: 512 MiB, 4.5 units or 60% (of 1f1b's), or a list with "
          "one of these for each pipeline rank; null: what the machine has left"),
      {"schedule.name"}, "schedule.name auto",
      [](const RunConfig& c) { return c.schedule.name == "auto"; }));
  const auto add = [&](Key key) {
    keys.push_back(only_with(
        std::move(key), {"schedule.name", "schedule.exact"},
        "schedule.name auto, or 1f1b-v, v-min, v-half or w4 without schedule.exact",
        [](const RunConfig& c) {
          return c.schedule.name == "auto" ||
                 (schedule::is_made_for_equal_costs(c.schedule.name) && !c.schedule.exact);
        }));
  };
  add(choice("schedule.objective", of(&ScheduleConfig::objective), {"makespan", "span"}, {},
             "what the search makes small: a step on all ranks together, or on the slowest rank"));
  add(real_number("schedule.search_seconds", of(&ScheduleConfig::search_seconds),
                  {0.0, true, 86400.0, true}, "how long rank 0 searches"));
  add(whole_number<std::int64_t>(
      "schedule.search_evaluations", of(&ScheduleConfig::search_evaluations), {0},
      "how much it searches instead: the same schedule on every machine; 0: seconds count"));
  add(whole_number<std::int64_t>(
      "schedule.replan_after", of(&ScheduleConfig::replan_after), {0},
      "steps of a run whose passes and messages are measured, for better orders after them; 0: "
      "none"));
}

void add_layout_keys(std::vector<Key>& keys) {
  const auto in_parallel = [](auto member) { return field(&RunConfig::parallel, member); };
  keys.push_back(whole_number<int>("parallel.data", in_parallel(&ParallelConfig::data),
                                   {1, kMostRanks},
                                   "replicas of the pipeline, each with a part of the batch"));
  keys.push_back(
      only_default_yet(whole_number<int>("parallel.tensor", in_parallel(&ParallelConfig::tensor),
                                         {1, kMostRanks}, "ranks that share every matrix"),
                       "tensor parallelism"));
  keys.push_back(whole_number<int>("parallel.pipeline", in_parallel(&ParallelConfig::pipeline),
                                   {1, kMostRanks}, "pipeline ranks: p"));
  keys.push_back(whole_numbers_or_auto(
      "parallel.layers_per_stage", in_parallel(&ParallelConfig::layers_per_stage),
      "blocks of each stage, first to last; auto: balanced by cost"));
  keys.push_back(only_with(
      choice(
          "parallel.transport", in_parallel(&ParallelConfig::transport), {"host", "nccl"}, {},
          "how messages get from GPU to GPU; host: through pinned memory and MPI; nccl: directly, "
          "each rank with a GPU of its own"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));

  const auto in_schedule = [](auto member) { return field(&RunConfig::schedule, member); };
  const auto known = schedule::schedule_names();
  std::vector<std::string> names(known.begin(), known.end());
  names.emplace_back("auto");
  keys.push_back(choice("schedule.name", in_schedule(&ScheduleConfig::name), names, {},
                        "pipeline schedule; auto: the best one found for schedule.memory_limit"));
  keys.push_back(
      only_with(whole_number<int>("schedule.num_chunks", in_schedule(&ScheduleConfig::num_chunks),
                                  {1, kMostRanks}, "stages per rank of schedule interleaved"),
                {"schedule.name"}, "schedule.name interleaved",
                [](const RunConfig& c) { return c.schedule.name == "interleaved"; }));
  add_search_keys(keys);
}

void add_surrounding_keys(std::vector<Key>& keys) {
  keys.push_back(choice("device.kind", field(&RunConfig::device, &DeviceConfig::kind),
                        {"cpu", "cuda", "modelled"}, {},
                        "what computes; modelled: nothing does, passes and messages take the time "
                        "that device.hardware says (for plan and bench)"));
  keys.push_back(only_with(
      whole_number_or_auto(
          "device.threads_per_rank", field(&RunConfig::device, &DeviceConfig::threads_per_rank),
          kMostThreads,
          "CPU threads of a rank; auto: CPUs that it may use / ranks that may use the same"),
      {"device.kind"}, "device.kind cpu",
      [](const RunConfig& c) { return c.device.kind == "cpu"; }));
  keys.push_back(
      only_with(flag("device.pin_threads", field(&RunConfig::device, &DeviceConfig::pin_threads),
                     "keep each thread on a CPU of its own, which no other rank's threads use"),
                {"device.kind"}, "device.kind cpu",
                [](const RunConfig& c) { return c.device.kind == "cpu"; }));
  keys.push_back(only_with(
      flag("device.cuda_graphs", field(&RunConfig::device, &DeviceConfig::cuda_graphs),
           "record each pass once as a CUDA graph and enqueue it in one call: less work for the "
           "host, more memory on the device"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));
  keys.push_back(only_with(
      flag(
          "device.tune", field(&RunConfig::device, &DeviceConfig::tune),
          "measure, before the first step, which of cuBLASLt's algorithms is the quickest for each "
          "kind of matrix product; false: the first one that it proposes"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));
  keys.push_back(only_with(
      choice("device.attention", field(&RunConfig::device, &DeviceConfig::attention),
             {"flash", "cudnn", "auto"}, {},
             "whose kernels compute attention; flash: Halfpipe's; cudnn: cuDNN's; auto: cuDNN's "
             "where it has them, and the start report says whose"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));
  keys.push_back(only_with(
      text_or_null("device.hardware", field(&RunConfig::device, &DeviceConfig::hardware),
                   "hardware profile of modelled devices, a file as those of configs/hardware"),
      {"device.kind"}, "device.kind modelled",
      [](const RunConfig& c) { return is_modelled(c.device); }));

  const auto in_output = [](auto member) { return field(&RunConfig::output, member); };
  keys.push_back(text("output.dir", in_output(&OutputConfig::dir),
                      "directory for logs, metrics and checkpoints; made when missing"));
  keys.push_back(whole_number<std::int64_t>("output.checkpoint_every",
                                            in_output(&OutputConfig::checkpoint_every), {0},
                                            "steps between checkpoints; 0: only at the end"));
  keys.push_back(whole_number<int>("output.keep", in_output(&OutputConfig::keep), {0},
                                   "newest checkpoints that stay; 0: all"));
  keys.push_back(flag("output.trace", in_output(&OutputConfig::trace),
                      "write the timeline of one step as Chrome trace JSON"));

  keys.push_back(real_number("debug.timeout_seconds",
                             field(&RunConfig::debug, &DebugConfig::timeout_seconds), {0.0, true},
                             "seconds without progress until a rank gives up; 0: never"));
  keys.push_back(
      only_with(flag("debug.sync_kernels", field(&RunConfig::debug, &DebugConfig::sync_kernels),
                     "wait for each operation of a GPU, and name the one that failed"),
                {"device.kind"}, "device.kind cuda",
                [](const RunConfig& c) { return c.device.kind == "cuda"; }));
}

std::vector<Key> make_table() {
  std::vector<Key> keys;
  add_model_keys(keys);
  add_data_keys(keys);
  add_train_keys(keys);
  add_optimizer_keys(keys);
  add_layout_keys(keys);
  add_surrounding_keys(keys);
  return keys;
}

}  // namespace

const std::vector<Key>& key_table() {
  static const std::vector<Key> table = make_table();
  return table;
}

std::vector<KeyDoc> key_docs() {
  std::vector<KeyDoc> docs;
  for (const Key& key : key_table()) docs.push_back(key.doc);
  return docs;
}

std::vector<std::string> section_names() {
  std::vector<std::string> names;
  for (const Key& key : key_table()) {
    std::string section = key.doc.path.substr(0, key.doc.path.find('.'));
    if (names.empty() || names.back() != section) names.push_back(std::move(section));
  }
  return names;
}

const Key* find_key_or_null(std::string_view path) {
  for (const Key& key : key_table()) {
    if (key.doc.path == path) return &key;
  }
  return nullptr;
}

bool is_section(std::string_view path) {
  return std::any_of(key_table().begin(), key_table().end(), [&](const Key& key) {
    const std::string_view known = key.doc.path;
    return known.size() > path.size() && known.starts_with(path) && known[path.size()] == '.';
  });
}

}  // namespace halfpipe::config
