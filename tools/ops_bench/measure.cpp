// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/measure.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/core/stopwatch.h"
#include "tools/ops_bench/product.h"

namespace halfpipe::ops_bench {
namespace {

constexpr std::size_t kFewestRepetitions = 5;
constexpr std::size_t kMostRepetitions = 100000;
constexpr double kWarmUpShare = 0.1;
/// The tick of a clock, so that no rate is infinite.
constexpr double kLeastSeconds = 1e-9;

double median(std::vector<double>& seconds) {
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::ranges::nth_element(seconds, middle);
  return *middle;
}

PreparedOp prepare_copy(Workbench& bench, device::Backend& backend) {
  constexpr auto kBytes = static_cast<std::size_t>(kCopiedBytes);
  const std::byte* const from = reinterpret_cast<const std::byte*>(
      bench.values(kCopiedBytes / static_cast<std::int64_t>(sizeof(float))));
  std::byte* const to = bench.scratch(kBytes);
  return {{.flops = 0.0, .bytes = 2.0 * static_cast<double>(kBytes)},
          [&backend, from, to](device::Stream& stream) {
            backend.copy_async(to, from, kBytes, stream);
          }};
}

}  // namespace

Timing time_op(const PreparedOp& op,
               device::Backend& backend,
               device::Stream& stream,
               double seconds) {
  const Stopwatch warm_up;
  do {
    op.enqueue(stream);
    stream.synchronize();
  } while (warm_up.seconds() < kWarmUpShare * seconds);

  const std::unique_ptr<device::Event> start = backend.make_event();
  const std::unique_ptr<device::Event> end = backend.make_event();
  std::vector<double> times;
  const Stopwatch stopwatch;
  while (times.size() < kFewestRepetitions ||
         (stopwatch.seconds() < seconds && times.size() < kMostRepetitions)) {
    stream.record(*start);
    op.enqueue(stream);
    stream.record(*end);
    stream.synchronize();
    times.push_back(end->seconds_since(*start));
  }
  return {static_cast<int>(times.size()), std::max(median(times), kLeastSeconds)};
}

double Ceilings::bytes_per_second() const {
  return 2.0 * static_cast<double>(kCopiedBytes) / copy.seconds;
}

double Ceilings::flops_per_second() const {
  const auto size = static_cast<double>(product_size);
  return 2.0 * size * size * size / product.seconds;
}

Ceilings measure_ceilings(device::Backend& backend,
                          device::Stream& stream,
                          DType dtype,
                          double seconds) {
  Ceilings ceilings{};
  {
    Workbench bench(backend, stream);
    ceilings.copy = time_op(prepare_copy(bench, backend), backend, stream, seconds);
  }
  for (std::int64_t size = kSmallestProductSize;; size *= 4) {
    Workbench bench(backend, stream);
    const Product product{.M = size, .N = size, .K = size, .dtype = dtype};
    ceilings.product = time_op(prepare_product(bench, product), backend, stream, seconds);
    ceilings.product_size = size;
    if (ceilings.product.seconds >= kShortestProductSeconds) return ceilings;
  }
}

double MeasuredOp::share_of(const Ceilings& ceilings) const {
  return ceiling == Ceiling::kCopy ? bytes_per_second() / ceilings.bytes_per_second()
                                   : flops_per_second() / ceilings.flops_per_second();
}

MeasuredOp measure_op(const OpCase& op,
                      device::Backend& backend,
                      device::Stream& stream,
                      double seconds) {
  Workbench bench(backend, stream);
  const PreparedOp prepared = op.prepare(bench);
  const Timing timing = time_op(prepared, backend, stream, seconds);
  return {op.operation, op.family, op.shape, op.ceiling, prepared.cost, timing};
}

}  // namespace halfpipe::ops_bench
