// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cudnn_attention.h"

#include <array>
#include <cstdio>
#include <map>
#include <mutex>
#include <span>
#include <tuple>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cudnn_attention_graph.h"
#include "kernels/cuda/cudnn_attention_scratch.h"
#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/cudnn_plan.h"

namespace halfpipe::cuda {
namespace {

using Id = CudnnAttentionId;

class CudnnHandle {
 public:
  explicit CudnnHandle(const CudnnLibrary& library) : library_(library) {
    library_.check(library_.create(&handle_), "cudnnCreate");
  }
  ~CudnnHandle() {
    if (library_.destroy(handle_) != CUDNN_STATUS_SUCCESS) {
      std::fprintf(stderr, "halfpipe: warning: cudnnDestroy failed\n");
    }
  }
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;

  [[nodiscard]] cudnnHandle_t get() const noexcept { return handle_; }

 private:
  const CudnnLibrary& library_;
  cudnnHandle_t handle_ = nullptr;
};

/// cuDNN takes all addresses alike; the graph says what is only read.
void* writable(const void* memory) {
  return const_cast<void*>(memory);
}

/// q, k or v of a [B, T, 3, NH, HS].
void* part_of(const void* qkv, const ops::AttentionDims& dims, std::int64_t part) {
  const auto elements = static_cast<std::size_t>(part * dims.NH * dims.HS);
  return static_cast<std::byte*>(writable(qkv)) + elements * size_of(DType::kBFloat16);
}

void require_possible(const ops::AttentionDims& dims, DType dtype) {
  const std::string reason = why_never_by_cudnn(dims, dtype);
  if (!reason.empty()) throw RuntimeFailure(reason);
}

bool is_empty(const ops::AttentionDims& dims) {
  return dims.B == 0 || dims.T == 0 || dims.NH == 0 || dims.HS == 0;
}

}  // namespace

class CudnnAttention::Context {
 public:
  [[nodiscard]] const CudnnLibrary& library() const { return library_; }

  const CudnnPlan& forward_plan(const ops::AttentionDims& dims) {
    return plan_for(forward_plans_, dims, attention_forward_graph, cudnn_forward_workspace());
  }
  const CudnnPlan& backward_plan(const ops::AttentionDims& dims) {
    return plan_for(backward_plans_, dims, attention_backward_graph,
                    cudnn_backward_workspace(dims));
  }
  void execute(const CudnnPlan& plan,
               std::span<const CudnnBinding> bindings,
               void* workspace,
               cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    library_.check(library_.set_stream(handle_.get(), stream), "cudnnSetStream");
    plan.execute(handle_.get(), bindings, workspace);
  }

 private:
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  using Plans = std::map<Key, CudnnPlan>;
  using MakeGraph = CudnnGraph(const CudnnLibrary&, const ops::AttentionDims&);

  const CudnnPlan& plan_for(Plans& plans,
                            const ops::AttentionDims& dims,
                            MakeGraph& make_graph,
                            const CudnnWorkspace& workspace) {
    const std::lock_guard lock(mutex_);
    const Key key(dims.B, dims.T, dims.NH, dims.HS);
    const auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    const CudnnTarget target{handle_.get(), nullptr};
    return plans.emplace(key, CudnnPlan(make_graph(library_, dims), target, workspace))
        .first->second;
  }

  const CudnnLibrary& library_ = cudnn_library();
  CudnnHandle handle_{library_};
  std::mutex mutex_;
  Plans forward_plans_;
  Plans backward_plans_;
};

CudnnAttention::CudnnAttention() = default;
CudnnAttention::~CudnnAttention() = default;

CudnnAttention::Context& CudnnAttention::context() {
  const std::lock_guard lock(mutex_);
  if (!context_) context_ = std::make_unique<Context>();
  return *context_;
}

std::string CudnnAttention::prepare(const ops::AttentionDims& dims, DType dtype) {
  require_possible(dims, dtype);
  (void)context().forward_plan(dims);
  (void)context().backward_plan(dims);
  return context().library().name();
}

void CudnnAttention::forward(const ops::AttentionForward& args, cudaStream_t stream) {
  if (is_empty(args.dims)) return;
  require_possible(args.dims, args.dtype);
  const CudnnPlan& plan = context().forward_plan(args.dims);
  const std::array<CudnnBinding, 5> bindings{{{Id::kQ, part_of(args.qkv, args.dims, 0)},
                                              {Id::kK, part_of(args.qkv, args.dims, 1)},
                                              {Id::kV, part_of(args.qkv, args.dims, 2)},
                                              {Id::kOut, args.out},
                                              {Id::kLse, args.lse}}};
  context().execute(plan, bindings, aligned_for_cudnn(args.scratch), stream);
}

void CudnnAttention::backward_input(const ops::AttentionBackwardInput& args, cudaStream_t stream) {
  if (is_empty(args.dims)) return;
  require_possible(args.dims, args.dtype);
  const CudnnPlan& plan = context().backward_plan(args.dims);
  const CudnnBackwardScratch offsets(args.dims);
  std::byte* const scratch = aligned_for_cudnn(args.scratch);
  const bool in_place = args.dqkv == args.qkv;
  void* const dqkv = in_place ? scratch + offsets.dqkv : args.dqkv;
  const std::array<CudnnBinding, 10> bindings{{{Id::kQ, part_of(args.qkv, args.dims, 0)},
                                               {Id::kK, part_of(args.qkv, args.dims, 1)},
                                               {Id::kV, part_of(args.qkv, args.dims, 2)},
                                               {Id::kOut, writable(args.out)},
                                               {Id::kLse, writable(args.lse)},
                                               {Id::kDOut, writable(args.dout)},
                                               {Id::kDelta, scratch + offsets.delta},
                                               {Id::kDQ, part_of(dqkv, args.dims, 0)},
                                               {Id::kDK, part_of(dqkv, args.dims, 1)},
                                               {Id::kDV, part_of(dqkv, args.dims, 2)}}};
  context().execute(plan, bindings, scratch + offsets.workspace, stream);
  if (in_place) {
    HALFPIPE_CUDA_CHECK(
        cudaMemcpyAsync(args.dqkv, dqkv, offsets.dqkv_bytes, cudaMemcpyDeviceToDevice, stream));
  }
}

}  // namespace halfpipe::cuda
