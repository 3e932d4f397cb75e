// SPDX-License-Identifier: Apache-2.0
// How long it takes to make a named schedule, to lower it to a plan and to prove the plan, on one
// core. Prints a table in Markdown, medians of kRuns. Usage: schedule_speed_bench
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"
#include "parallel/schedule/validate.h"

namespace {

using namespace halfpipe::schedule;  // NOLINT(google-build-using-namespace): one small program

constexpr int kRuns = 5;

/// Median of kRuns calls.
template <typename Work>
double seconds_of(const Work& work) {
  std::array<double, kRuns> seconds{};
  for (double& one : seconds) {
    const auto start = std::chrono::steady_clock::now();
    work();
    one = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRuns / 2, seconds.end());
  return seconds[kRuns / 2];
}

void print_row(const std::string& name, int p, int m) {
  const Placement placement = placement_for(name, p, 2);
  const CostModel costs = uniform_costs(placement.num_stages());
  const StageOrders orders = make_orders(name, p, m, 2, costs);
  const Plan plan = build_plan(orders, costs);
  if (first_violation(plan, costs)) std::abort();
  const double make = seconds_of([&] { (void)make_orders(name, p, m, 2, costs); });
  const double lower = seconds_of([&] { (void)build_plan(orders, costs); });
  const double prove = seconds_of([&] { (void)first_violation(plan, costs); });
  std::printf("| %s | %d | %d | %.4f | %.4f | %.4f | %.4f |\n", name.c_str(), p, m, make, lower,
              prove, make + lower + prove);
}

}  // namespace

int main() {
  std::puts("| schedule | p | m | orders, s | plan, s | proof, s | all, s |");
  std::puts("| --- | --- | --- | --- | --- | --- | --- |");
  for (const auto& [p, m] : {std::pair{16, 128}, std::pair{64, 512}}) {
    for (const char* name :
         {"1f1b", "interleaved", "zb-1p", "zb-2p", "1f1b-v", "v-min", "v-half", "v-zb", "w4"}) {
      print_row(name, p, m);
    }
  }
  return 0;
}
