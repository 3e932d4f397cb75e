// SPDX-License-Identifier: Apache-2.0
// cuDNN's graph API on the host. Refuses attributes that are missing, shapes that do not fit
// together, tensors that are read before they are written, results in memory that the graph reads,
// addresses that are not aligned; overwrites the workspace, as a GPU may.
#include <cudnn_graph.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_emulation/cudnn_descriptor.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/stream_queue.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace halfpipe::cuda_emulation {
namespace {

constexpr std::size_t kWorkspaceAlignment = 256;
constexpr std::size_t kEmulatedVersion = 91900;

thread_local std::string last_error;

template <typename Call>
cudnnStatus_t answered(const Call& call) {
  try {
    call();
    return CUDNN_STATUS_SUCCESS;
  } catch (const Refusal& refusal) {
    last_error = "emulated cuDNN: " + refusal.reason;
    return refusal.status;
  }
}

std::size_t size_of_type(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_HEUR_MODE:
    case CUDNN_TYPE_POINTWISE_MODE:
    case CUDNN_TYPE_REDUCTION_OPERATOR_TYPE:
      return 4;
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
  }
  refuse("an attribute's type");
}

void get_proposals(const Descriptor& heuristic,
                   std::int64_t requested,
                   std::int64_t* count,
                   void* elements) {
  if (requested < 1) refuse("room for a proposal is missing");
  auto& proposal = **static_cast<Descriptor**>(elements);
  if (proposal.type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) refuse("a proposal of another type");
  proposal.plan = heuristic.plan;
  proposal.finalized = true;
  *count = 1;
}

bool is_aligned(const void* pointer, std::int64_t alignment) {
  return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(alignment) == 0;
}

/// Addresses as the graph needs them.
void check_memory(const GraphProgram& program, const std::map<std::int64_t, void*>& addresses) {
  std::set<const void*> read;
  std::set<const void*> written;
  const auto check = [&](const GraphTensor& tensor, std::set<const void*>& seen) {
    if (tensor.place == GraphTensor::Place::kBetween) return;
    const auto found = addresses.find(tensor.id);
    if (found == addresses.end()) refuse("a tensor has no address");
    if (tensor.place == GraphTensor::Place::kHostValue) return;
    if (!is_aligned(found->second, tensor.alignment)) refuse("a tensor is not aligned");
    static_cast<void>(check_range(found->second, bytes_of(tensor), "cudnnBackendExecute"));
    seen.insert(found->second);
  };
  std::set<std::int64_t> results;
  for (const GraphOperation& operation : program) {
    for (const GraphTensor& input : operation.inputs) {
      if (!results.contains(input.id)) check(input, read);
    }
    results.insert(operation.result.id);
    check(operation.result, written);
  }
  for (const void* address : written) {
    if (read.contains(address)) refuse("a result is where the graph reads");
  }
}

void execute(cudaStream_t stream, const Descriptor& plan, const Descriptor& pack) {
  const auto ids = all<std::int64_t>(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = all<void*>(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (ids.size() != pointers.size()) refuse("as many ids as addresses");
  std::map<std::int64_t, void*> addresses;
  for (std::size_t i = 0; i < ids.size(); ++i) addresses[ids[i]] = pointers[i];
  check_memory(plan.plan->program, addresses);
  auto* const workspace = one<void*>(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  if (!is_aligned(workspace, kWorkspaceAlignment)) refuse("the workspace is not aligned");
  static_cast<void>(check_range(workspace, plan.plan->workspace_bytes, "cudnnBackendExecute"));
  // Values on the host are read now: they may be gone when the work is done.
  std::map<std::int64_t, float> values;
  for (const GraphOperation& operation : plan.plan->program) {
    for (const GraphTensor& input : operation.inputs) {
      if (input.place != GraphTensor::Place::kHostValue) continue;
      std::memcpy(&values[input.id], addresses.at(input.id), sizeof(float));
    }
  }
  enqueue(stream, "cudnnBackendExecute",
          [program = plan.plan, addresses, values, workspace]() mutable {
            for (auto& [id, value] : values) addresses[id] = &value;
            std::memset(workspace, 0xff, program->workspace_bytes);
            run(program->program, addresses);
          });
}

Descriptor& descriptor_of(cudnnBackendDescriptor_t handle) {
  if (handle == nullptr) refuse("no descriptor");
  return *static_cast<Descriptor*>(handle);
}

}  // namespace
}  // namespace halfpipe::cuda_emulation

using namespace halfpipe::cuda_emulation;

std::size_t cudnnGetVersion() {
  return kEmulatedVersion;
}

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
  }
  return "CUDNN_STATUS_UNKNOWN";
}

void cudnnGetLastErrorString(char* message, std::size_t size) {
  const std::size_t length = std::min(last_error.size(), size - 1);
  std::memcpy(message, last_error.data(), length);
  message[length] = '\0';
  last_error.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* descriptor) {
  *descriptor = new Descriptor{type, {}, false, {}, {}, nullptr};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete static_cast<Descriptor*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type,
                                       std::int64_t count,
                                       const void* elements) {
  return answered([&] {
    Descriptor& d = descriptor_of(descriptor);
    if (d.finalized) refuse("an attribute of a finalised descriptor");
    if (count < 1) refuse("no elements of an attribute");
    const auto* const begin = static_cast<const std::byte*>(elements);
    const std::size_t bytes = static_cast<std::size_t>(count) * size_of_type(type);
    d.attributes[name] = {type, count, {begin, begin + bytes}};
  });
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t /*type*/,
                                       std::int64_t requested,
                                       std::int64_t* count,
                                       void* elements) {
  return answered([&] {
    const Descriptor& d = descriptor_of(descriptor);
    if (!d.finalized) refuse("an attribute of a descriptor that is not finalised");
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) return get_proposals(d, requested, count, elements);
    if (name != CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) refuse("an attribute to get");
    *static_cast<std::int64_t*>(elements) = static_cast<std::int64_t>(d.plan->workspace_bytes);
    *count = 1;
  });
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  return answered([&] { finalize(descriptor_of(descriptor)); });
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle,
                                  cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  return answered([&] { execute(handle->stream, descriptor_of(plan), descriptor_of(pack)); });
}
