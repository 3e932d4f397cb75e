#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds everything and runs all tests. Usage: tools/test.sh [ctest argument ...]
#   tools/test.sh
#   tools/test.sh -L unit
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  -h | --help)
    sed -n '3,5s/^# //p' "$0"
    exit 0
    ;;
esac

# Chromium looks at the pages that `halfpipe schedule --html` writes.
tools/install_packages.sh chromium
tools/build.sh --tests
. tools/mpi_environment.sh
# Two at a time; tests that start processes say that they need two cores, and run alone.
export CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-2}
echo "test: ctest --test-dir build $*"
exec ctest --test-dir build --output-on-failure "$@"
