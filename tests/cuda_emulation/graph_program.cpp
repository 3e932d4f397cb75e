// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/graph_program.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/bfloat16.h"

namespace halfpipe::cuda_emulation {
namespace {

using Kind = GraphOperation::Kind;
using Element = GraphTensor::Element;
using Place = GraphTensor::Place;
using Index = std::array<std::int64_t, 4>;

/// Calls with every index of a shape.
template <typename Visit>
void for_each(const std::array<std::int64_t, 4>& shape, const Visit& visit) {
  Index i{};
  for (i[0] = 0; i[0] < shape[0]; ++i[0]) {
    for (i[1] = 0; i[1] < shape[1]; ++i[1]) {
      for (i[2] = 0; i[2] < shape[2]; ++i[2]) {
        for (i[3] = 0; i[3] < shape[3]; ++i[3]) visit(i);
      }
    }
  }
}

/// Of a dimension of 1, the only place.
std::size_t offset_of(const GraphTensor& tensor, const Index& index) {
  std::int64_t offset = 0;
  for (std::size_t axis = 0; axis < index.size(); ++axis) {
    if (tensor.shape[axis] != 1) offset += index[axis] * tensor.strides[axis];
  }
  return static_cast<std::size_t>(offset);
}

float rounded(float value, Element element) {
  return element == Element::kBFloat16 ? to_float(to_bfloat16(value)) : value;
}

/// The tensors of a program while it runs. What is between operations is kept as float32.
class Tensors {
 public:
  explicit Tensors(const std::map<std::int64_t, void*>& addresses) : addresses_(addresses) {}

  /// All elements, at their offsets; what is in the gaps means nothing.
  [[nodiscard]] std::vector<float> read(const GraphTensor& tensor) const {
    if (tensor.place == Place::kBetween) return between_.at(tensor.id);
    std::vector<float> values(static_cast<std::size_t>(extent_of(tensor)));
    const void* const memory = addresses_.at(tensor.id);
    for_each(tensor.shape, [&](const Index& i) {
      const std::size_t offset = offset_of(tensor, i);
      values[offset] = tensor.element == Element::kBFloat16
                           ? to_float(static_cast<const BFloat16*>(memory)[offset])
                           : static_cast<const float*>(memory)[offset];
    });
    return values;
  }

  void write(const GraphTensor& tensor, std::vector<float> values) {
    for (float& value : values) value = rounded(value, tensor.element);
    if (tensor.place == Place::kBetween) {
      between_[tensor.id] = std::move(values);
      return;
    }
    void* const memory = addresses_.at(tensor.id);
    for_each(tensor.shape, [&](const Index& i) {
      const std::size_t offset = offset_of(tensor, i);
      if (tensor.element == Element::kBFloat16) {
        static_cast<BFloat16*>(memory)[offset] = to_bfloat16(values[offset]);
      } else {
        static_cast<float*>(memory)[offset] = values[offset];
      }
    });
  }

 private:
  const std::map<std::int64_t, void*>& addresses_;
  std::map<std::int64_t, std::vector<float>> between_;
};

struct Operand {
  const GraphTensor& tensor;
  std::vector<float> values;

  [[nodiscard]] float at(const Index& index) const { return values[offset_of(tensor, index)]; }
};

float product_at(const Operand& a, const Operand& b, const Index& index) {
  double sum = 0.0;
  Index in_a = index;
  Index in_b = index;
  for (std::int64_t k = 0; k < a.tensor.shape[3]; ++k) {
    in_a[3] = k;
    in_b[2] = k;
    sum += double{a.at(in_a)} * double{b.at(in_b)};
  }
  return static_cast<float>(sum);
}

float pointwise_at(const GraphOperation& operation,
                   const std::vector<Operand>& inputs,
                   const Index& index) {
  const auto at = [&](std::size_t input) { return inputs[input].at(index); };
  switch (operation.kind) {
    case Kind::kMatmul:
      return product_at(inputs[0], inputs[1], index);
    case Kind::kAdd:
      return at(0) + at(1);
    case Kind::kSubtract:
      return at(0) - at(1);
    case Kind::kMultiply:
      return at(0) * at(1);
    case Kind::kDivide:
      return at(0) / at(1);
    case Kind::kExp:
      return std::exp(at(0));
    case Kind::kLog:
      return std::log(at(0));
    case Kind::kIndex:
      return static_cast<float>(index[static_cast<std::size_t>(operation.axis)]);
    case Kind::kAtLeast:
      return at(0) >= at(1) ? 1.0F : 0.0F;
    case Kind::kSelect:
      return at(2) != 0.0F ? at(0) : at(1);
    default:
      return NAN;
  }
}

std::vector<float> reduce(const GraphOperation& operation, const Operand& x) {
  const bool is_sum = operation.kind == Kind::kSum;
  const double start = is_sum ? 0.0 : -std::numeric_limits<double>::infinity();
  std::vector<double> results(static_cast<std::size_t>(extent_of(operation.result)), start);
  for_each(x.tensor.shape, [&](const Index& i) {
    double& result = results[offset_of(operation.result, i)];
    result = is_sum ? result + double{x.at(i)} : std::max(result, double{x.at(i)});
  });
  return {results.begin(), results.end()};
}

}  // namespace

std::int64_t extent_of(const GraphTensor& tensor) {
  std::int64_t last = 0;
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    last += (tensor.shape[axis] - 1) * tensor.strides[axis];
  }
  return last + 1;
}

std::size_t bytes_of(const GraphTensor& tensor) {
  const std::size_t element = tensor.element == Element::kBFloat16 ? 2 : 4;
  return static_cast<std::size_t>(extent_of(tensor)) * element;
}

void run(const GraphProgram& program, const std::map<std::int64_t, void*>& addresses) {
  Tensors tensors(addresses);
  for (const GraphOperation& operation : program) {
    std::vector<Operand> inputs;
    for (const GraphTensor& input : operation.inputs) {
      // An index has nothing of its input but the shape.
      if (operation.kind != Kind::kIndex) inputs.push_back({input, tensors.read(input)});
    }
    const GraphTensor& result = operation.result;
    if (operation.kind == Kind::kReinterpret) {
      inputs[0].values.resize(static_cast<std::size_t>(extent_of(result)), NAN);
      tensors.write(result, std::move(inputs[0].values));
      continue;
    }
    if (operation.kind == Kind::kSum || operation.kind == Kind::kMaximum) {
      tensors.write(result, reduce(operation, inputs[0]));
      continue;
    }
    std::vector<float> values(static_cast<std::size_t>(extent_of(result)), NAN);
    for_each(result.shape, [&](const Index& i) {
      values[offset_of(result, i)] = pointwise_at(operation, inputs, i);
    });
    tensors.write(result, std::move(values));
  }
}

}  // namespace halfpipe::cuda_emulation
