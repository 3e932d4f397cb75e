// SPDX-License-Identifier: Apache-2.0
#include "engine/config/key_lists.h"
#include "engine/model/recompute.h"
#include "kernels/core/error.h"

#include <array>
#include <string_view>

namespace halfpipe::config {
namespace {

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
  keys.push_back(choice("optimizer.not_finite", of(&OptimizerConfig::not_finite), {"stop", "skip"},
                        {},
                        "where the loss or the norm is infinite or no number: the job ends, or "
                        "the step is left out"));
  keys.push_back(choice("optimizer.moments", element_type(of(&OptimizerConfig::moments)),
                        {"float32", "bf16"}, {},
                        "of both means; bf16: half their memory, rounded up or down by chance so "
                        "that small changes are not lost"));
  keys.push_back(only_with(
      whole_number<int>("optimizer.zero_stage", of(&OptimizerConfig::zero_stage), {0, 1},
                        "1: each replica keeps the moments of a part of the parameters, and steps "
                        "that; 0: each all of them"),
      {"parallel.data"}, "parallel.data of at least 2",
      [](const RunConfig& c) { return c.parallel.data > 1; }));
  keys.push_back(choice("optimizer.post_validation", of(&OptimizerConfig::post_validation),
                        {"auto", "on", "off"}, {},
                        "on: ranks go on with the next step while the global norm is on its way, "
                        "and do again what it changes; off: they wait for it; auto: on where the "
                        "plan says that it gains and it takes no memory, not on modelled devices"));
}

}  // namespace

void add_training_keys(std::vector<Key>& keys) {
  add_train_keys(keys);
  add_optimizer_keys(keys);
}

}  // namespace halfpipe::config
