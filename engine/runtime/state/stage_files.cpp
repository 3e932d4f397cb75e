// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/state/stage_files.h"

#include <string>
#include <vector>

#include "engine/checkpoint/model_directory.h"

namespace halfpipe::runtime {

namespace {

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

std::vector<checkpoint::TensorSpec> values_of(const model::TransformerConfig& config,
                                              const model::StageLayers& layers) {
  std::vector<checkpoint::TensorSpec> tensors;
  for (const model::ParameterSpec& spec : model::all_parameters(config)) {
    if (belongs_to(layers, spec)) tensors.push_back({spec.name, spec.shape});
  }
  return config.bias ? tensors : checkpoint::with_zero_biases(tensors);
}

std::vector<checkpoint::TensorSpec> moments_of(const config::RunConfig& config,
                                               const model::StageLayers& layers) {
  const DType dtype = config.optimizer.moments;
  std::vector<checkpoint::TensorSpec> tensors;
  for (const model::ParameterSpec& spec : model::all_parameters(config.model)) {
    if (!belongs_to(layers, spec)) continue;
    tensors.push_back({checkpoint::exp_avg_name(spec.name), spec.shape, dtype});
    tensors.push_back({checkpoint::exp_avg_sq_name(spec.name), spec.shape, dtype});
  }
  return tensors;
}

std::string tensor_name(const SavedPart& part) {
  const std::string& name = part.parameter->spec.name;
  if (part.kind == StateKind::kFirstMoment) return checkpoint::exp_avg_name(name);
  if (part.kind == StateKind::kSecondMoment) return checkpoint::exp_avg_sq_name(name);
  return name;
}

}  // namespace

StageFiles::StageFiles(const std::filesystem::path& directory,
                       const config::RunConfig& config,
                       const model::StageLayers& layers,
                       int num_stages)
    : layers_(layers),
      model_(checkpoint::model_shard(directory, layers.stage, num_stages),
             values_of(config.model, layers)),
      optimizer_(checkpoint::optimizer_shard(directory, layers.stage, num_stages),
                 moments_of(config, layers)) {}

bool StageFiles::hold(const model::ParameterSpec& spec) const {
  return belongs_to(layers_, spec);
}

void StageFiles::create() {
  model_.create();
  optimizer_.create();
}

void StageFiles::write(const SavedPart& part,
                       std::int64_t first,
                       std::int64_t last,
                       const void* values) {
  checkpoint::SlicedFile& file = part.kind == StateKind::kValue ? model_ : optimizer_;
  file.write(file.index_of(tensor_name(part)), part.parameter->slice, first, last, values);
}

void StageFiles::write(const SavedPart& part, HostWindow& window) {
  window.read(part.values, part.count(), size_of(part.dtype),
              [&](std::int64_t first, std::int64_t last, const void* values) {
                write(part, part.first + first, part.first + last, values);
              });
}

void StageFiles::close() {
  model_.close();
  optimizer_.close();
}

void StageFiles::finish(const Written& all) {
  model_.finish(all[0]);
  optimizer_.finish(all[1]);
}

}  // namespace halfpipe::runtime
