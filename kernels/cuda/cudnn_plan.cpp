// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cudnn_plan.h"

#include <string>

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::cuda {
namespace {

constexpr std::size_t kMostProposals = 8;

CudnnDescriptor graph_of_operations(const CudnnGraph& graph, const CudnnTarget& target) {
  CudnnDescriptor operations(graph.library(), CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (target.handle_or_null != nullptr) {
    operations.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle_or_null);
  }
  operations.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, graph.operations());
  operations.finalize();
  return operations;
}

/// Best first.
std::vector<CudnnDescriptor> ask_heuristic(const CudnnLibrary& library,
                                           const CudnnDescriptor& operations,
                                           const CudnnTarget& target) {
  CudnnDescriptor heuristic(library, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set_descriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations.get());
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  if (target.device_properties_or_null != nullptr) {
    heuristic.set_descriptor(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                             target.device_properties_or_null->get());
  }
  heuristic.finalize();
  std::vector<CudnnDescriptor> proposals;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (std::size_t i = 0; i < kMostProposals; ++i) {
    handles.push_back(proposals.emplace_back(library, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  }
  const std::int64_t count = heuristic.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, handles);
  proposals.erase(proposals.begin() + count, proposals.end());
  return proposals;
}

CudnnDescriptor plan_of(const CudnnLibrary& library,
                        const CudnnDescriptor& proposal,
                        const CudnnTarget& target) {
  CudnnDescriptor plan(library, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  if (target.handle_or_null != nullptr) {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle_or_null);
  } else {
    plan.set_descriptor(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                        target.device_properties_or_null->get());
  }
  plan.set_descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, proposal.get());
  plan.finalize();
  return plan;
}

std::size_t workspace_of(const CudnnDescriptor& plan) {
  return static_cast<std::size_t>(plan.get_number(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
}

/// The first plan that there is.
CudnnDescriptor choose(const CudnnLibrary& library,
                       const std::vector<CudnnDescriptor>& proposals,
                       const CudnnTarget& target,
                       const CudnnWorkspace& workspace) {
  std::string problem = "it has no engine for this shape on this device";
  if (proposals.empty()) {
    const std::string words = library.last_words();
    if (!words.empty()) problem += fmt::format(" ({})", words);
  }
  for (const CudnnDescriptor& proposal : proposals) {
    const bool first = &proposal == &proposals.front();
    try {
      CudnnDescriptor plan = plan_of(library, proposal, target);
      const std::size_t bytes = workspace_of(plan);
      if (bytes >= workspace.least_bytes && bytes <= workspace.most_bytes) return plan;
      if (first) {
        problem = fmt::format("it asks for {} bytes of workspace; expected are {} to {}", bytes,
                              workspace.least_bytes, workspace.most_bytes);
      }
    } catch (const RuntimeFailure& failure) {
      if (first) problem = failure.what();
    }
  }
  throw RuntimeFailure(fmt::format("{}: {}", library.name(), problem));
}

}  // namespace

CudnnPlan::CudnnPlan(CudnnGraph graph, const CudnnTarget& target, const CudnnWorkspace& workspace)
    : graph_(std::move(graph)),
      operations_(graph_of_operations(graph_, target)),
      proposals_(ask_heuristic(graph_.library(), operations_, target)),
      plan_(choose(graph_.library(), proposals_, target, workspace)),
      workspace_bytes_(workspace_of(plan_)) {}

void CudnnPlan::execute(cudnnHandle_t handle,
                        std::span<const CudnnBinding> bindings,
                        void* workspace) const {
  std::vector<std::int64_t> ids;
  std::vector<void*> addresses;
  for (const CudnnBinding& binding : bindings) {
    ids.push_back(binding.id);
    addresses.push_back(binding.memory);
  }
  std::vector<std::pair<std::int64_t, float>> constants(graph_.constants().begin(),
                                                        graph_.constants().end());
  for (auto& [id, value] : constants) {
    ids.push_back(id);
    addresses.push_back(&value);  // on the host; read before execute returns
  }
  const CudnnLibrary& library = graph_.library();
  CudnnDescriptor pack(library, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set_all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  pack.set_addresses(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses);
  pack.set_addresses(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, {&workspace, 1});
  pack.finalize();
  library.check(library.execute(handle, plan_.get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace halfpipe::cuda
