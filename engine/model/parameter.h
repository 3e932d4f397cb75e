// SPDX-License-Identifier: Apache-2.0
// The parameters that one rank holds: values, gradient accumulators and how they start.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/model/tensor_shard.h"
#include "engine/model/transformer_config.h"
#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"
#include "kernels/core/tensor.h"
#include "kernels/core/tensor_slice.h"
#include "kernels/device/buffer.h"

namespace halfpipe::model {

enum class Initialisation : std::uint8_t { kZero, kOne, kNormal };

/// One parameter of the whole model, in the names and layouts of Hugging Face's GPT-2 (linear
/// weights are [in, out]).
struct ParameterSpec {
  std::string name;
  Shape shape;
  Initialisation initialisation;
  float standard_deviation = 0.0F;  // for kNormal
  bool decay = false;               // weight decay applies: matrices and embeddings

  friend bool operator==(const ParameterSpec&, const ParameterSpec&) = default;
};

/// The name of the token embedding, which a tied head uses too.
inline constexpr const char* kTokenEmbeddingName = "transformer.wte.weight";

/// "transformer.h.<layer>."
[[nodiscard]] std::string block_prefix(int layer);

/// Every parameter of the model in its canonical order: embeddings, blocks from first to last,
/// final norm, untied head. The position in this list is the parameter's global index, the order of
/// every reduction over parameters.
[[nodiscard]] std::vector<ParameterSpec> all_parameters(const TransformerConfig& config);

/// A parameter on this rank. Pointers are device memory, valid after ParameterSet::allocate.
struct Parameter {
  ParameterSpec spec;   // of the whole
  TensorSlice slice;    // what this rank holds of it
  bool is_cut = false;  // tensor ranks hold slices of it, which may be all of it and only padding
  int global_index = -1;
  bool owned =
      true;  // false for the copy of a tied embedding on the last rank of a linear placement
  bool counts_in_norm = true;  // false on all tensor ranks but the first for what each holds whole
  bool gradient_is_of_own_tokens = false;  // the sum over tensor ranks is still to be made
  float* value = nullptr;                  // [slice]
  BFloat16* copy = nullptr;   // value rounded, which passes read instead of it; null in float32
  float* gradient = nullptr;  // float32 accumulator over the micro-batches of a step
  // A tied embedding is used twice and accumulates each use apart, so that the sum of both has the
  // same bits wherever the two uses run: gradient is the embedding's use, head_gradient the head's.
  bool has_head_gradient = false;
  float* head_gradient = nullptr;

  /// Of the slice, with its padding.
  [[nodiscard]] std::int64_t count() const { return slice.count(); }
  /// What passes read: value, or its copy.
  [[nodiscard]] const void* operand() const {
    return copy == nullptr ? static_cast<const void*>(value) : copy;
  }
};

/// Owns the memory of all parameters of a rank, of their bfloat16 copies and of their gradients.
class ParameterSet {
 public:
  explicit ParameterSet(const TensorShard& shard = {}) : shard_(shard) {}

  /// Adds a parameter of the model by name; returns its index in this set. Adding a name twice
  /// returns the first. rows_of_rank: slice_of.
  int add(const std::vector<ParameterSpec>& model,
          const std::string& name,
          Sharing sharing = Sharing::kWhole,
          std::int64_t rows_of_rank = 0);
  /// Takes the memory; nothing may be added afterwards. Contents are undefined until initialise or
  /// a load. dtype: what passes read; bfloat16 takes copies beside the float32 values.
  void allocate(device::Backend& backend, DType dtype);
  /// Makes every copy anew, after values were set by anything but the optimizer. Ordered by the
  /// stream.
  void round_copies(const device::Backend& backend, device::Stream& stream);

  [[nodiscard]] Parameter& operator[](int index) {
    return parameters_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] const Parameter& operator[](int index) const {
    return parameters_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] std::vector<Parameter>& all() { return parameters_; }
  [[nodiscard]] const std::vector<Parameter>& all() const { return parameters_; }
  [[nodiscard]] Parameter* find(const std::string& name);

  /// Which part of its stages' layers this rank has.
  [[nodiscard]] const TensorShard& shard() const { return shard_; }
  [[nodiscard]] std::size_t value_bytes() const { return values_.bytes(); }
  [[nodiscard]] std::size_t copy_bytes() const { return copies_.bytes(); }
  [[nodiscard]] std::size_t gradient_bytes() const { return gradients_.bytes(); }
  /// All values at once, in the order of the set, each padded.
  [[nodiscard]] device::Buffer& values() { return values_; }
  /// All gradient accumulators at once, to be cleared before a step.
  [[nodiscard]] device::Buffer& gradients() { return gradients_; }

 private:
  TensorShard shard_;
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, int> indices_;  // into parameters_, by name
  std::ptrdiff_t last_found_ = 0;                 // in the model, by add
  device::Buffer values_;
  device::Buffer copies_;
  device::Buffer gradients_;
};

/// Bytes that ParameterSet::allocate would take for parameters of these counts.
struct ParameterBytes {
  std::size_t values;
  std::size_t copies;
  std::size_t gradients;
};
[[nodiscard]] ParameterBytes parameter_bytes(const std::vector<Parameter>& parameters, DType dtype);

/// Fills host memory with the initial values of a whole parameter, by num_threads threads. They
/// depend on (seed, name, element) alone.
void initialise(const ParameterSpec& spec, std::uint64_t seed, float* out, int num_threads = 1);

}  // namespace halfpipe::model
