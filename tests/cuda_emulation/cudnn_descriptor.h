// SPDX-License-Identifier: Apache-2.0
// What is behind the descriptors of the emulated cuDNN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/cuda_emulation/graph_program.h"
#include "tests/cuda_emulation/include/cudnn_graph.h"

namespace halfpipe::cuda_emulation {

struct Attribute {
  cudnnBackendAttributeType_t type;
  std::int64_t count;
  std::vector<std::byte> bytes;
};

/// What an engine computes.
struct Plan {
  GraphProgram program;
  std::size_t workspace_bytes = 0;
};

struct Descriptor {
  cudnnBackendDescriptorType_t type;
  std::map<cudnnBackendAttributeName_t, Attribute> attributes;
  bool finalized = false;
  GraphTensor tensor{};
  GraphOperation operation{};
  std::shared_ptr<const Plan> plan;  // of graphs, proposals and plans: work in a stream keeps it
};

/// Thrown within a call, and returned by it as a status.
struct Refusal {
  cudnnStatus_t status;
  std::string reason;
};

[[noreturn]] inline void refuse(const std::string& reason) {
  throw Refusal{CUDNN_STATUS_BAD_PARAM, reason};
}

template <typename T>
std::vector<T> all(const Descriptor& of, cudnnBackendAttributeName_t name) {
  const auto found = of.attributes.find(name);
  if (found == of.attributes.end()) return {};
  std::vector<T> values(static_cast<std::size_t>(found->second.count));
  std::memcpy(values.data(), found->second.bytes.data(), found->second.bytes.size());
  return values;
}

template <typename T>
std::optional<T> maybe(const Descriptor& of, cudnnBackendAttributeName_t name) {
  const auto found = of.attributes.find(name);
  if (found == of.attributes.end()) return std::nullopt;
  if (found->second.count != 1) refuse("one element was expected");
  T value{};
  std::memcpy(&value, found->second.bytes.data(), sizeof value);
  return value;
}

template <typename T>
T one(const Descriptor& of, cudnnBackendAttributeName_t name) {
  const std::optional<T> value = maybe<T>(of, name);
  if (!value) refuse("attribute " + std::to_string(name) + " is missing");
  return *value;
}

/// A finalised one of this type.
[[nodiscard]] const Descriptor& other(const Descriptor& of,
                                      cudnnBackendAttributeName_t name,
                                      cudnnBackendDescriptorType_t type);

/// Reads what was set; throws Refusal.
void finalize(Descriptor& descriptor);

}  // namespace halfpipe::cuda_emulation
