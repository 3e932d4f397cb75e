#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds test executables with sanitizers in build-<sanitizer>/ and runs them.
# Usage: tools/check_sanitizers.sh address|thread [test executable ...]
#   address   AddressSanitizer and UndefinedBehaviorSanitizer; default: all unit tests
#   thread    ThreadSanitizer; default: what runs ranks and threads in one process
set -euo pipefail
cd "$(dirname "$0")/.."

# halfpipe's own thread pool and transport are what ThreadSanitizer is for; it cannot see into libgomp.
thread_tests=(thread_pool_test local_transport_test runtime_test post_validation_test tensor_parallel_test schedule_search_property_test)
address_tests=(core_test device_test op_cost_test modelled_device_test cpu_kernels_test cpu_products_test thread_pool_test schedule_test schedule_plan_test schedule_bound_test
  schedule_search_test schedule_search_property_test schedule_joint_test config_test
  files_test data_test checkpoint_test optimizer_test model_test trace_test local_transport_test transport_watch_test runtime_test
  post_validation_test tensor_parallel_test oracle_test)

kind=${1:-}
shift || true
case "$kind" in
  address) sanitize=address,undefined && tests=("${address_tests[@]}") ;;
  thread) sanitize=thread && tests=("${thread_tests[@]}") ;;
  *)
    sed -n '3,6s/^# //p' "$0" >&2
    exit 2
    ;;
esac
[ $# -eq 0 ] || tests=("$@")

# The grid of long sums repeats what shorter tests of the same code run; under a sanitizer it takes ten minutes.
left_out='*ChangeNoBitOfLongSums*'
# Thousands of searches by one thread have nothing for ThreadSanitizer.
[ "$kind" = address ] || left_out+=':*FindsWhatRunsWithinMemoryBetweenBoundAndCatalogue*'

build=build-$kind
# -O1: the tests run ten times slower without, and stack traces stay readable.
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DHALFPIPE_SANITIZE="$sanitize" \
  -DHALFPIPE_TESTS=ON >/dev/null
cmake --build "$build" --target "${tests[@]}" >"$build/build.log" || {
  tail -n 40 "$build/build.log" >&2
  exit 1
}
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1 OMP_NUM_THREADS=1
for test in "${tests[@]}"; do
  executable=$(find "$build/tests" -type f -name "$test" -perm -u+x | head -n 1)
  echo "$kind: $test"
  "$executable" --gtest_brief=1 --gtest_filter="-$left_out"
done
echo "$kind: ${#tests[@]} test executables clean"
