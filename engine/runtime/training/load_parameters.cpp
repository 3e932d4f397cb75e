// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/load_parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "engine/checkpoint/model_directory.h"
#include "engine/checkpoint/model_shape.h"
#include "engine/runtime/state/held_moments.h"
#include "engine/runtime/state/host_window.h"
#include "kernels/core/bfloat16.h"

namespace halfpipe::runtime {

namespace {

std::span<float> floats(void* values, std::int64_t count) {
  return {static_cast<float*>(values), static_cast<std::size_t>(count)};
}

/// Reads what a rank holds of tensors, and no more, into its device's memory.
class SliceLoader {
 public:
  explicit SliceLoader(PipelineTrainer& trainer)
      : trainer_(trainer), window_(trainer.backend(), trainer.stream()) {}

  void load_values(const checkpoint::ShardedTensors& from, const model::Parameter& parameter) {
    window_.write(parameter.value, parameter.count(), sizeof(float),
                  [&](std::int64_t first, std::int64_t last, void* values) {
                    from.read_float32(parameter.spec.name, parameter.spec.shape,
                                      {parameter.slice, first}, floats(values, last - first));
                  });
  }
  void load_moments(const checkpoint::ShardedTensors& from,
                    const model::Parameter& parameter,
                    const HeldMoments& range) {
    const std::string& name = parameter.spec.name;
    load_moment(from, checkpoint::exp_avg_name(name), parameter, range, range.first_moment);
    load_moment(from, checkpoint::exp_avg_sq_name(name), parameter, range, range.second_moment);
  }
  /// From the tensor `name` of `shape`, which may have more rows than the parameter. Of another
  /// run: its last steps may have ended in numbers that nothing can start from.
  void load_finite(const checkpoint::ShardedTensors& from,
                   const std::string& name,
                   const Shape& shape,
                   const model::Parameter& parameter) {
    window_.write(
        parameter.value, parameter.count(), sizeof(float),
        [&](std::int64_t first, std::int64_t last, void* values) {
          from.read_weights(name, shape, {parameter.slice, first}, floats(values, last - first));
        });
  }

 private:
  /// To what the optimizer keeps. Of a checkpoint in bfloat16 that is what was saved; from float32
  /// values are rounded to the nearest, since there is no step whose random numbers they could
  /// take.
  void load_moment(const checkpoint::ShardedTensors& from,
                   const std::string& name,
                   const model::Parameter& parameter,
                   const HeldMoments& range,
                   void* to) {
    const DType dtype = trainer_.optimizer().moment_dtype();
    window_.write(to, range.last - range.first, size_of(dtype),
                  [&](std::int64_t first, std::int64_t last, void* values) {
                    const checkpoint::SlicePart part{parameter.slice, range.first + first};
                    if (dtype == DType::kFloat32) {
                      from.read_float32(name, parameter.spec.shape, part,
                                        floats(values, last - first));
                      return;
                    }
                    exact_.resize(static_cast<std::size_t>(last - first));
                    from.read_float32(name, parameter.spec.shape, part, exact_);
                    std::ranges::transform(exact_, static_cast<BFloat16*>(values), to_bfloat16);
                  });
  }

  PipelineTrainer& trainer_;
  HostWindow window_;
  std::vector<float> exact_;  // of a window, before it is rounded
};

}  // namespace

void load_checkpoint(const std::filesystem::path& directory, PipelineTrainer& trainer) {
  const checkpoint::ModelReader reader(directory);
  const checkpoint::ShardedTensors moments = checkpoint::open_optimizer(directory);
  SliceLoader loader(trainer);
  const std::vector<model::Parameter>& parameters = trainer.parameters().all();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    loader.load_values(reader.tensors, parameters[i]);
    for (const HeldMoments& range : held_moments(trainer.optimizer(), i)) {
      loader.load_moments(moments, parameters[i], range);
    }
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
  SliceLoader loader(trainer);
  for (const model::Parameter& parameter : trainer.parameters().all()) {
    const model::ParameterSpec& spec = parameter.spec;
    if (spec.name == "transformer.wpe.weight") {
      loader.load_finite(reader.tensors, spec.name, {reader.config.seq_len, config.hidden_size},
                         parameter);
    } else if (spec.name == "lm_head.weight" && !reader.tensors.contains(spec.name)) {
      // A tied model starts an untied one with a copy of its table.
      loader.load_finite(reader.tensors, model::kTokenEmbeddingName, spec.shape, parameter);
    } else {
      loader.load_finite(reader.tensors, spec.name, spec.shape, parameter);
    }
  }
  trainer.parameters_changed();
}

}  // namespace halfpipe::runtime
