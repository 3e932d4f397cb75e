// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/shared_gradients.h"

#include "kernels/ops/ops.h"

namespace halfpipe::runtime {
namespace {

std::int64_t count_of(const model::ParameterSet& parameters) {
  std::int64_t count = 0;
  for (const model::Parameter& parameter : parameters.all()) {
    if (parameter.gradient_is_of_own_tokens) count += parameter.count();
  }
  return count;
}

}  // namespace

SharedGradients::SharedGradients(model::ParameterSet& parameters,
                                 device::Backend& backend,
                                 model::TensorGroup& group)
    : parameters_(parameters),
      backend_(backend),
      group_(group),
      count_(count_of(parameters)),
      memory_(backend, bytes_for(parameters)) {}

std::size_t SharedGradients::bytes_for(const model::ParameterSet& parameters) {
  return static_cast<std::size_t>(parameters.shard().ranks * count_of(parameters)) * sizeof(float);
}

void SharedGradients::sum(device::Stream& stream) {
  if (count_ == 0) return;
  const model::TensorShard& shard = parameters_.shard();
  float* const own = part(shard.rank);
  const auto for_each_gradient = [&](const auto& visit) {
    std::int64_t at = 0;
    for (const model::Parameter& parameter : parameters_.all()) {
      if (!parameter.gradient_is_of_own_tokens) continue;
      visit(parameter.gradient, own + at, static_cast<std::size_t>(parameter.count()));
      at += parameter.count();
    }
  };
  for_each_gradient([&](const float* gradient, float* packed, std::size_t count) {
    backend_.copy_async(packed, gradient, count * sizeof(float), stream);
  });
  group_.all_gather(reinterpret_cast<std::byte*>(part(0)), reinterpret_cast<std::byte*>(own),
                    static_cast<std::size_t>(count_) * sizeof(float), stream);
  backend_.ops().sum_parts({.out = own,
                            .parts = part(0),
                            .own = own,
                            .num_parts = shard.ranks,
                            .own_index = shard.rank,
                            .bias_or_null = nullptr,
                            .residual_or_null = nullptr,
                            .N = 1,
                            .C = count_,
                            .dtype = DType::kFloat32},
                           stream);
  for_each_gradient([&](float* gradient, const float* packed, std::size_t count) {
    backend_.copy_async(gradient, packed, count * sizeof(float), stream);
  });
}

}  // namespace halfpipe::runtime
