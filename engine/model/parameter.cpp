// SPDX-License-Identifier: Apache-2.0
#include "engine/model/parameter.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "kernels/core/pinning.h"
#include "kernels/ops/ops.h"

namespace halfpipe::model {

namespace {

// GPT-2's initializer_range.
constexpr float kInitialDeviation = 0.02F;

class SpecList {
 public:
  explicit SpecList(bool bias) : bias_(bias) {}

  void normal(std::string name, Shape shape, float deviation) {
    specs_.push_back({std::move(name), shape, Initialisation::kNormal, deviation, true});
  }
  void norm(const std::string& name, std::int64_t C) {
    specs_.push_back({name + ".weight", {C}, Initialisation::kOne, 0.0F, false});
    add_bias(name, C);
  }
  void linear(const std::string& name, std::int64_t in, std::int64_t out, float deviation) {
    normal(name + ".weight", {in, out}, deviation);
    add_bias(name, out);
  }
  [[nodiscard]] std::vector<ParameterSpec> take() { return std::move(specs_); }

 private:
  void add_bias(const std::string& name, std::int64_t count) {
    if (bias_) specs_.push_back({name + ".bias", {count}, Initialisation::kZero, 0.0F, false});
  }

  bool bias_;
  std::vector<ParameterSpec> specs_;
};

}  // namespace

std::string block_prefix(int layer) {
  return "transformer.h." + std::to_string(layer) + ".";
}

std::vector<ParameterSpec> all_parameters(const TransformerConfig& config) {
  const std::int64_t C = config.hidden_size;
  const std::int64_t F = config.mlp_size();
  // Radford et al. 2019, section 2.3: residual projections are scaled by 1 / sqrt(number of
  // residual layers).
  const float residual_deviation =
      kInitialDeviation / std::sqrt(2.0F * static_cast<float>(config.num_layers));
  SpecList list(config.bias);
  list.normal(kTokenEmbeddingName, {config.vocab_size, C}, kInitialDeviation);
  list.normal("transformer.wpe.weight", {config.seq_len, C}, kInitialDeviation);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = block_prefix(layer);
    list.norm(prefix + "ln_1", C);
    list.linear(prefix + "attn.c_attn", C, 3 * C, kInitialDeviation);
    list.linear(prefix + "attn.c_proj", C, C, residual_deviation);
    list.norm(prefix + "ln_2", C);
    list.linear(prefix + "mlp.c_fc", C, F, kInitialDeviation);
    list.linear(prefix + "mlp.c_proj", F, C, residual_deviation);
  }
  list.norm("transformer.ln_f", C);
  if (!config.tie_embeddings) {
    list.normal("lm_head.weight", {config.vocab_size, C}, kInitialDeviation);
  }
  return list.take();
}

int ParameterSet::add(const std::vector<ParameterSpec>& model,
                      const std::string& name,
                      Sharing sharing,
                      std::int64_t rows_of_rank) {
  HALFPIPE_CHECK(values_.bytes() == 0, "parameters were added after allocation");
  const auto [index, is_new] = indices_.try_emplace(name, static_cast<int>(parameters_.size()));
  if (!is_new) return index->second;
  // Names come in the model's order nearly always, so the search goes on from the last one.
  const auto is_it = [&](const ParameterSpec& spec) { return spec.name == name; };
  const auto last = model.begin() + std::min(last_found_, std::ssize(model));
  auto found = std::find_if(last, model.end(), is_it);
  if (found == model.end()) found = std::find_if(model.begin(), last, is_it);
  HALFPIPE_CHECK(found != model.end() && is_it(*found), "the model has no parameter " + name);
  last_found_ = found - model.begin();
  Parameter parameter;
  parameter.spec = *found;
  parameter.slice = slice_of(found->shape, sharing, shard_, rows_of_rank);
  parameter.is_cut = shard_.is_shared() && is_cut(sharing);
  parameter.counts_in_norm = shard_.rank == 0 || parameter.is_cut;
  parameter.gradient_is_of_own_tokens = shard_.is_shared() && sharing == Sharing::kWholeBySums;
  parameter.global_index = static_cast<int>(found - model.begin());
  parameters_.push_back(std::move(parameter));
  return index->second;
}

namespace {

std::size_t bytes_of(const Parameter& parameter, DType dtype) {
  return padded_bytes(static_cast<std::size_t>(parameter.count()) * size_of(dtype));
}

}  // namespace

ParameterBytes parameter_bytes(const std::vector<Parameter>& parameters, DType dtype) {
  ParameterBytes bytes{0, 0, 0};
  for (const Parameter& parameter : parameters) {
    const std::size_t padded = bytes_of(parameter, DType::kFloat32);
    bytes.values += padded;
    if (dtype == DType::kBFloat16) bytes.copies += bytes_of(parameter, dtype);
    bytes.gradients += parameter.has_head_gradient ? 2 * padded : padded;
  }
  return bytes;
}

void ParameterSet::allocate(device::Backend& backend, DType dtype) {
  HALFPIPE_CHECK(dtype == DType::kFloat32 || dtype == DType::kBFloat16,
                 "passes read float32 or bfloat16");
  const ParameterBytes bytes = parameter_bytes(parameters_, dtype);
  values_ = device::Buffer(backend, bytes.values);
  copies_ = device::Buffer(backend, bytes.copies);
  gradients_ = device::Buffer(backend, bytes.gradients);
  std::byte* value = values_.bytes_pointer();
  std::byte* copy = copies_.bytes_pointer();
  std::byte* gradient = gradients_.bytes_pointer();
  for (Parameter& parameter : parameters_) {
    const std::size_t padded = bytes_of(parameter, DType::kFloat32);
    parameter.value = reinterpret_cast<float*>(value);
    value += padded;
    if (copy != nullptr) {
      parameter.copy = reinterpret_cast<BFloat16*>(copy);
      copy += bytes_of(parameter, dtype);
    }
    parameter.gradient = reinterpret_cast<float*>(gradient);
    gradient += padded;
    if (parameter.has_head_gradient) {
      parameter.head_gradient = reinterpret_cast<float*>(gradient);
      gradient += padded;
    }
  }
}

void ParameterSet::round_copies(const device::Backend& backend, device::Stream& stream) {
  for (const Parameter& parameter : parameters_) {
    if (parameter.copy == nullptr) continue;
    backend.ops().round_to_bfloat16(
        {.dst = parameter.copy, .src = parameter.value, .count = parameter.count()}, stream);
  }
}

Parameter* ParameterSet::find(const std::string& name) {
  const auto index = indices_.find(name);
  return index == indices_.end() ? nullptr : &(*this)[index->second];
}

namespace {

/// Values first .. last - 1 of a normal parameter; first is even.
void initialise_normal(const ParameterSpec& spec,
                       std::uint64_t seed,
                       std::int64_t first,
                       std::int64_t last,
                       float* out) {
  const std::uint64_t stream = hash_name(spec.name);
  const double deviation = spec.standard_deviation;
  for (std::int64_t i = first; i < last; i += 2) {
    const auto words = philox(seed, static_cast<std::uint64_t>(i / 2), stream);
    out[i] = static_cast<float>(deviation * standard_normal(words[0], words[1]));
    if (i + 1 < last) {
      out[i + 1] = static_cast<float>(deviation * standard_normal(words[2], words[3]));
    }
  }
}

}  // namespace

void initialise(const ParameterSpec& spec, std::uint64_t seed, float* out, int num_threads) {
  const std::int64_t count = spec.shape.num_elements();
  switch (spec.initialisation) {
    case Initialisation::kZero:
      std::fill_n(out, count, 0.0F);
      return;
    case Initialisation::kOne:
      std::fill_n(out, count, 1.0F);
      return;
    case Initialisation::kNormal:
      break;
  }
  // Every value has a number of its own in the generator, so that parts can be made at once.
  constexpr std::int64_t kPart = std::int64_t{1} << 20;  // even: values come in pairs
  const std::int64_t num_parts = ceil_div(count, kPart);
  std::atomic<std::int64_t> next_part = 0;
  const auto make_parts = [&] {
    for (std::int64_t part = next_part++; part < num_parts; part = next_part++) {
      initialise_normal(spec, seed, part * kPart, std::min(count, (part + 1) * kPart), out);
    }
  };
  const UnpinnedScope spread_out;
  std::vector<std::jthread> helpers;
  for (std::int64_t i = 1; i < std::min<std::int64_t>(num_threads, num_parts); ++i)
    helpers.emplace_back(make_parts);
  make_parts();
}

}  // namespace halfpipe::model
