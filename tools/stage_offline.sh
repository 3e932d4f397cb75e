#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copies what a machine without packages and without network needs to run Halfpipe into one relocatable folder:
#   tools/stage_offline.sh [--build DIR] FOLDER [PROGRAM...]
# The programs (default: halfpipe and what needs a GPU of the build folder, which defaults to build/), the libraries
# that they need beside glibc and CUDA's own, and Open MPI's launcher with its plugins. There:
#   . FOLDER/environment.sh && mpirun -n 4 halfpipe train ...
# The other machine needs glibc 2.36 or newer; a build for it must not be made for this machine's CPU
# (cmake -DHALFPIPE_NATIVE=OFF). FOLDER must not exist yet.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "halfpipe: error: $1" >&2
  exit 2
}
usage() { sed -n '3,9s/^# \{0,1\}//p' "$0"; }

build=build
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then usage && exit 0; fi
if [ "${1:-}" = --build ]; then
  [ $# -ge 2 ] || fail "--build needs a folder"
  build=$2
  shift 2
fi
[ $# -ge 1 ] || { usage >&2; exit 2; }
folder=$1
shift
[[ "$folder" != -* ]] || fail "unknown argument $folder; tools/stage_offline.sh --help lists them"
[ -e "$folder" ] && fail "$folder exists already; name a new folder"
if [ $# -gt 0 ]; then
  programs=("$@")
else
  [ -x "$build/halfpipe" ] || fail "there is no halfpipe in $build; build first (tools/build.sh)"
  mapfile -t programs < <(ls "$build/halfpipe" && find "$build" -type f -executable \( -name 'cuda_*_test' -o -name 'cuda_*_bench' \))
fi
for program in "${programs[@]}"; do
  [ -x "$program" ] || fail "$program is not an executable; build first (tools/build.sh)"
done

mkdir -p "$folder/bin" "$folder/lib" "$folder/share"
cp -L "${programs[@]}" "$folder/bin/"

# Open MPI is found by the environment below instead of by the paths compiled into it. Plugins for networks that this
# folder cannot bring along (their libraries talk to kernel drivers) stay behind: ranks of one machine need none.
if launcher=$(command -v orterun); then
  cp -L "$launcher" "$folder/bin/mpirun"
  cp -L "$(command -v orted)" "$folder/bin/"
  libraries=$(dirname "$(ldconfig -p | awk '/libmpi\.so\.40 /{print $NF; exit}')")
  mkdir -p "$folder/lib/openmpi"
  for plugin in "$libraries"/openmpi/lib/openmpi*/mca_*.so; do
    ldd "$plugin" | grep -qE 'libucp|libfabric|libpsm|libibverbs|librdmacm|libnuma|libslurm|libtorque|not found' || cp -L "$plugin" "$folder/lib/openmpi/"
  done
  cp -rL /usr/share/openmpi "$folder/share/"
  if [ -d "$libraries/pmix2" ]; then
    mkdir -p "$folder/lib/pmix2"
    cp -rL "$libraries/pmix2/lib" "$folder/lib/pmix2/"
    [ -d /usr/share/pmix ] && cp -rL /usr/share/pmix "$folder/share/"
  fi
fi

# What an object needs, but for glibc (the other machine's own) and CUDA (which comes with its driver and toolkit).
needed_by() {
  { ldd "$@" 2>/dev/null || true; } | awk '/=> \//{print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|libpthread|librt|libutil|libresolv|ld-linux[^/]*)\.so|/(libcuda|libcublas|libcublasLt|libcudnn[^/]*|libnccl|libnvrtc)\.so' || true
}
while :; do
  added=0
  mapfile -t objects < <(find "$folder/bin" "$folder/lib" -type f)
  for library in $(needed_by "${objects[@]}"); do
    [ -e "$folder/lib/$(basename "$library")" ] && continue
    cp -L "$library" "$folder/lib/"
    added=1
  done
  [ "$added" -eq 1 ] || break
done
find "$folder/lib" -type f -name '*.a' -delete
find "$folder/bin" "$folder/lib" -type f -exec strip --strip-unneeded {} + 2>/dev/null || true

cat > "$folder/environment.sh" <<'ENVIRONMENT'
# To be sourced: makes the programs of this folder and its Open MPI those of the shell.
halfpipe_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$halfpipe_folder/bin:$PATH"
export LD_LIBRARY_PATH="$halfpipe_folder/lib:${LD_LIBRARY_PATH:-}"
export OPAL_PREFIX="$halfpipe_folder" OPAL_LIBDIR="$halfpipe_folder/lib" OPAL_PKGLIBDIR="$halfpipe_folder/lib/openmpi"
export OPAL_PKGDATADIR="$halfpipe_folder/share/openmpi" OMPI_MCA_mca_base_component_path="$halfpipe_folder/lib/openmpi"
export PMIX_INSTALL_PREFIX="$halfpipe_folder/lib/pmix2" PMIX_MCA_mca_base_component_path="$halfpipe_folder/lib/pmix2/lib/pmix"
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
ENVIRONMENT
du -sh "$folder" | awk '{print "staged: " $2 ", " $1}'
