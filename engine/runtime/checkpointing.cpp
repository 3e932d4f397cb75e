// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/checkpointing.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <vector>

#include "engine/checkpoint/model_directory.h"
#include "engine/checkpoint/model_shape.h"
#include "engine/config/config_to_yaml.h"
#include "engine/files/output_file.h"
#include "engine/runtime/activity.h"
#include "engine/runtime/agreement.h"
#include "kernels/core/bfloat16.h"

namespace halfpipe::runtime {

namespace {

/// Copies tensors to the host one at a time, so that saving takes no more than the largest of them.
class HostCopy {
 public:
  explicit HostCopy(PipelineTrainer& trainer) : trainer_(trainer) {}

  std::span<const std::byte> operator()(const checkpoint::NamedTensor& tensor) {
    copy_.resize(tensor.bytes());
    trainer_.backend().copy_async(copy_.data(), tensor.values_or_null, copy_.size(),
                                  trainer_.stream());
    trainer_.stream().synchronize();
    return copy_;
  }

 private:
  PipelineTrainer& trainer_;
  std::vector<std::byte> copy_;
};

/// Which stage's shard a parameter belongs to: that of the stage whose layers it is part of.
bool belongs_to(const model::StageLayers& layers, const model::ParameterSpec& spec) {
  const std::string block = "transformer.h.";
  if (spec.name.starts_with(block)) {
    const int index = std::stoi(spec.name.substr(block.size()));
    return index >= layers.first_block && index < layers.first_block + layers.num_blocks;
  }
  const bool is_embedding =
      spec.name == model::kTokenEmbeddingName || spec.name == "transformer.wpe.weight";
  return is_embedding ? layers.has_embedding : layers.has_head;
}

void write_stage(const std::filesystem::path& directory,
                 PipelineTrainer& trainer,
                 const model::StageLayers& layers,
                 const Job& job) {
  std::vector<checkpoint::NamedTensor> model;
  std::vector<checkpoint::NamedTensor> moments;
  const std::vector<model::Parameter>& parameters = trainer.parameters().all();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::Parameter& parameter = parameters[i];
    const model::ParameterSpec& spec = parameter.spec;
    if (!parameter.owned || !belongs_to(layers, spec)) continue;
    model.push_back({spec.name, spec.shape, parameter.value});
    const optimizer::AdamW& adamw = trainer.optimizer();
    moments.push_back({checkpoint::exp_avg_name(spec.name), spec.shape, adamw.first_moment(i),
                       adamw.moment_dtype()});
    moments.push_back({checkpoint::exp_avg_sq_name(spec.name), spec.shape, adamw.second_moment(i),
                       adamw.moment_dtype()});
  }
  const int num_stages = job.placement.num_stages();
  HostCopy host_copy(trainer);
  if (!job.config.model.bias) model = checkpoint::with_zero_biases(model);
  checkpoint::write_model_shard(directory, layers.stage, num_stages, model, std::ref(host_copy));
  checkpoint::write_optimizer_shard(directory, layers.stage, num_stages, moments,
                                    std::ref(host_copy));
}

void write_rank_zero_files(const std::filesystem::path& directory,
                           const Job& job,
                           const TrainingInputs& inputs,
                           std::int64_t steps_done,
                           const std::string& parameter_hash) {
  checkpoint::write_model_index(directory, job.config.model, job.placement.num_stages());
  const std::int64_t sequences = steps_done * job.config.train.global_batch_size;
  checkpoint::write_trainer_state(directory, {.step = steps_done,
                                              .tokens_seen = sequences * job.config.model.seq_len,
                                              .sequences_consumed = sequences,
                                              .seed = job.config.train.seed,
                                              .parameter_hash = parameter_hash,
                                              .config = config::to_yaml(job.config),
                                              .data = inputs.data_record});
  if (inputs.tuned) checkpoint::write_tuned_record(directory, *inputs.tuned);
  files::write_file(directory / kVocabularyName,
                    inputs.dataset->vocabulary.to_json().dump(1) + "\n");
}

}  // namespace

std::filesystem::path save_checkpoint(checkpoint::CheckpointStore& store,
                                      PipelineTrainer& trainer,
                                      const Job& job,
                                      const TrainingInputs& inputs,
                                      std::int64_t steps_done,
                                      const std::string& parameter_hash,
                                      transport::Transport& transport) {
  const bool first_rank = transport.rank() == 0;
  agree(transport, [&] {
    if (first_rank) store.begin(steps_done);
  });
  try {
    const std::filesystem::path directory = store.working_directory(steps_done);
    agree(transport, [&] {
      if (trainer.replica() != 0) return;  // the others hold the same
      for (int chunk = 0; chunk < job.placement.num_chunks(); ++chunk) {
        const model::StageLayers& layers = trainer.stage(chunk).layers();
        publish_activity(transport, steps_done,
                         fmt::format("checkpoint, stage {}", layers.stage).c_str());
        write_stage(directory, trainer, layers, job);
      }
    });
    agree(transport, [&] {
      if (!first_rank) return;
      publish_activity(transport, steps_done, "checkpoint, manifest");
      write_rank_zero_files(directory, job, inputs, steps_done, parameter_hash);
      store.finish(steps_done);
    });
  } catch (const AgreedError&) {
    if (first_rank) store.abandon(steps_done);
    throw;
  }
  return store.directory_of(steps_done);
}

namespace {

class ParameterLoader {
 public:
  explicit ParameterLoader(PipelineTrainer& trainer) : trainer_(trainer) {}

  void load(const checkpoint::ShardedTensors& from,
            const std::string& name,
            const Shape& shape,
            float* to) {
    host_.resize(static_cast<std::size_t>(shape.num_elements()));
    from.read_float32(name, shape, host_);
    copy_to(to, host_.size());
  }
  /// To what `dtype` says. Of a checkpoint in bfloat16 that is what was saved; from float32 values
  /// are rounded to the nearest, since there is no step whose random numbers they could take.
  void load_moment(const checkpoint::ShardedTensors& from,
                   const std::string& name,
                   const Shape& shape,
                   DType dtype,
                   void* to) {
    if (dtype == DType::kFloat32) {
      load(from, name, shape, static_cast<float*>(to));
      return;
    }
    host_.resize(static_cast<std::size_t>(shape.num_elements()));
    from.read_float32(name, shape, host_);
    std::vector<BFloat16> rounded(host_.size());
    std::ranges::transform(host_, rounded.begin(), to_bfloat16);
    trainer_.backend().copy_async(to, rounded.data(), rounded.size() * sizeof(BFloat16),
                                  trainer_.stream());
    trainer_.stream().synchronize();
  }
  /// Of another run: its last steps may have ended in numbers that nothing can start from.
  void load_finite(const checkpoint::ShardedTensors& from,
                   const std::string& name,
                   const Shape& shape,
                   float* to) {
    host_.resize(static_cast<std::size_t>(shape.num_elements()));
    from.read_weights(name, shape, host_);
    copy_to(to, host_.size());
  }
  /// The leading rows of a table that has more of them.
  void load_rows(const checkpoint::ShardedTensors& from,
                 const std::string& name,
                 const Shape& whole,
                 const Shape& part,
                 float* to) {
    host_.resize(static_cast<std::size_t>(whole.num_elements()));
    from.read_weights(name, whole, host_);
    copy_to(to, static_cast<std::size_t>(part.num_elements()));
  }

 private:
  void copy_to(float* to, std::size_t count) {
    trainer_.backend().copy_async(to, host_.data(), count * sizeof(float), trainer_.stream());
    trainer_.stream().synchronize();
  }

  PipelineTrainer& trainer_;
  std::vector<float> host_;
};

}  // namespace

void load_checkpoint(const std::filesystem::path& directory, PipelineTrainer& trainer) {
  const checkpoint::ModelReader reader(directory);
  const checkpoint::ShardedTensors moments = checkpoint::open_optimizer(directory);
  ParameterLoader loader(trainer);
  std::vector<model::Parameter>& parameters = trainer.parameters().all();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::ParameterSpec& spec = parameters[i].spec;
    loader.load(reader.tensors, spec.name, spec.shape, parameters[i].value);
    const optimizer::AdamW& adamw = trainer.optimizer();
    loader.load_moment(moments, checkpoint::exp_avg_name(spec.name), spec.shape,
                       adamw.moment_dtype(), adamw.first_moment(i));
    loader.load_moment(moments, checkpoint::exp_avg_sq_name(spec.name), spec.shape,
                       adamw.moment_dtype(), adamw.second_moment(i));
  }
  trainer.parameters_changed();
}

namespace {

void check_same_shape(const std::filesystem::path& directory,
                      const model::TransformerConfig& found,
                      const model::TransformerConfig& wanted) {
  const auto compare = [&](const char* key, int there, int here, bool fits) {
    if (fits) return;
    throw ConfigError(fmt::format("model.init_from: {} has {} {}, the configuration {}",
                                  directory.string(), key, there, here));
  };
  compare("num_layers", found.num_layers, wanted.num_layers, found.num_layers == wanted.num_layers);
  compare("num_heads", found.num_heads, wanted.num_heads, found.num_heads == wanted.num_heads);
  compare("hidden_size", found.hidden_size, wanted.hidden_size,
          found.hidden_size == wanted.hidden_size);
  compare("vocab_size", found.vocab_size, wanted.vocab_size, found.vocab_size == wanted.vocab_size);
  if (!found.tie_embeddings && wanted.tie_embeddings) {
    throw ConfigError(
        fmt::format("model.tie_embeddings (true): {} has a head of its own; set it to false",
                    directory.string()));
  }
  compare("seq_len", found.seq_len, wanted.seq_len, found.seq_len >= wanted.seq_len);
}

/// A model without biases can start from a directory only if the biases there are zero.
void check_biases_are_zero(const checkpoint::ShardedTensors& tensors,
                           const std::filesystem::path& directory) {
  const std::optional<std::string> name = checkpoint::find_nonzero_bias(tensors);
  if (!name) return;
  throw ConfigError(
      fmt::format("model.bias (false): {} has a bias that is not zero, {}; set model.bias: true",
                  directory.string(), *name));
}

}  // namespace

void load_initial_parameters(const std::filesystem::path& directory,
                             const model::TransformerConfig& config,
                             PipelineTrainer& trainer) {
  const checkpoint::ModelReader reader(directory);
  check_same_shape(directory, reader.config, config);
  if (!config.bias) check_biases_are_zero(reader.tensors, directory);
  ParameterLoader loader(trainer);
  for (model::Parameter& parameter : trainer.parameters().all()) {
    const model::ParameterSpec& spec = parameter.spec;
    if (spec.name == "transformer.wpe.weight") {
      loader.load_rows(reader.tensors, spec.name, {reader.config.seq_len, config.hidden_size},
                       spec.shape, parameter.value);
    } else if (spec.name == "lm_head.weight" && !reader.tensors.contains(spec.name)) {
      // A tied model starts an untied one with a copy of its table.
      loader.load_finite(reader.tensors, model::kTokenEmbeddingName, spec.shape, parameter.value);
    } else {
      loader.load_finite(reader.tensors, spec.name, spec.shape, parameter.value);
    }
  }
  trainer.parameters_changed();
}

}  // namespace halfpipe::runtime
