// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/update_cases.h"

#include <algorithm>

namespace halfpipe::ops_bench {
namespace {

std::int64_t num_updated(const ModelShape& model) {
  return std::min(model.num_parameters, kMostUpdated);
}

}  // namespace

OpCase accumulate(const ModelShape& model) {
  const std::int64_t count = model.V * model.C;
  return {"accumulate", "accumulate", shape_text({model.V, model.C}), Ceiling::kCopy,
          [count](Workbench& bench) {
            return bench.prepare(
                &ops::Ops::accumulate,
                {.dst = bench.zeros(count), .src = bench.values(count), .count = count});
          }};
}

OpCase sum_of_squares(const ModelShape& model) {
  const std::int64_t count = num_updated(model);
  return {"sum_of_squares", "sum_of_squares", shape_text({count}), Ceiling::kCopy,
          [count](Workbench& bench) {
            const auto num_blocks = static_cast<std::size_t>(bench.ops().num_square_blocks(count));
            std::byte* const sums = bench.scratch(num_blocks * sizeof(double));
            return bench.prepare(
                &ops::Ops::sum_of_squares,
                {.out = reinterpret_cast<double*>(sums), .x = bench.values(count), .count = count});
          }};
}

OpCase adamw(const ModelShape& model) {
  const std::int64_t count = num_updated(model);
  const DType moments = model.moment_dtype;
  const char* const name = moments == DType::kBFloat16 ? "adamw, bf16 moments" : "adamw";
  return {name, "adamw", shape_text({count}), Ceiling::kCopy, [=](Workbench& bench) {
            // With the copy that products of bfloat16 use.
            void* const copy_or_null =
                model.dtype == DType::kBFloat16 ? bench.zeros(count, model.dtype) : nullptr;
            // The scalars change no time; the corrections are those of the first step.
            constexpr float kBeta1 = 0.9F;
            constexpr float kBeta2 = 0.95F;
            return bench.prepare(&ops::Ops::adamw,
                                 {.param = bench.values(count),
                                  .m = bench.zeros(count, moments),
                                  .v = bench.zeros(count, moments),
                                  .grad = bench.values(count),
                                  .count = count,
                                  .learning_rate = 1e-4F,
                                  .beta1 = kBeta1,
                                  .beta2 = kBeta2,
                                  .epsilon = 1e-8F,
                                  .weight_decay = 0.1F,
                                  .grad_scale = 1.0F,
                                  .bias_correction1 = 1.0F - kBeta1,
                                  .bias_correction2 = 1.0F - kBeta2,
                                  .copy_or_null = static_cast<BFloat16*>(copy_or_null),
                                  .moment_dtype = moments});
          }};
}

}  // namespace halfpipe::ops_bench
