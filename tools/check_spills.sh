#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks that no CUDA kernel keeps more in local memory, for lack of registers, than it is known to.
#
# Usage: tools/check_spills.sh [BUILD]
#   BUILD  a build with the CUDA backend (default build), whose files *.ptxas say what ptxas did
#
# tools/spill_limits.txt lists the kernels that spill: bytes, architecture, beginning of the kernel's name. All others may
# spill nothing; a limit that a kernel stays below by more than half is out of date, and is an error, too.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  -h | --help)
    sed -n '3,10s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
build=${1:-build}
limits=tools/spill_limits.txt

mapfile -t reports < <(find "$build/kernels/cuda" -name '*.ptxas' 2>/dev/null | sort)
if [ "${#reports[@]}" -eq 0 ]; then
  echo "halfpipe: error: there is no *.ptxas below $build/kernels/cuda: no build with the CUDA backend" >&2
  exit 2
fi

# "BYTES ARCHITECTURE KERNEL" for every kernel: the larger of what it stores and what it loads.
kernels() {
  cat "${reports[@]}" | awk '
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; architecture = part[4] }
    /bytes stack frame/ && kernel != "" {
      for (i = 2; i <= NF; ++i) {
        if ($i == "spill" && $(i + 1) ~ /^stores/) stores = $(i - 2)
        if ($i == "spill" && $(i + 1) ~ /^loads/) loads = $(i - 2)
      }
      print (stores > loads ? stores : loads), architecture, kernel
      kernel = ""
    }' | c++filt
}

kernels | awk -v limits="$limits" '
  BEGIN {
    while ((getline line < limits) > 0) {
      if (line ~ /^#/ || line == "") continue
      split(line, part, " ")
      ++count
      bytes[count] = part[1]
      architecture[count] = part[2]
      name[count] = substr(line, index(line, part[3]))
    }
  }
  {
    spilled = $1; of = $2; kernel = substr($0, index($0, $3)); allowed = 0
    for (i = 1; i <= count; ++i) {
      if (architecture[i] != of || index(kernel, name[i]) == 0) continue
      allowed = bytes[i]
      if (spilled > most[i]) most[i] = spilled
    }
    ++kernels
    if (spilled > allowed) {
      printf "halfpipe: error: %s (%s) spills %d bytes, %d are allowed\n", kernel, of, spilled, allowed
      failed = 1
    }
  }
  END {
    for (i = 1; i <= count; ++i) {
      if (2 * most[i] >= bytes[i]) continue
      printf "halfpipe: error: %s: %s (%s) spills %d bytes at most: lower its limit of %d\n", limits, name[i], architecture[i], most[i], bytes[i]
      failed = 1
    }
    printf "spills: %d kernels, %s\n", kernels, failed ? "see above" : "as allowed"
    exit failed
  }'
