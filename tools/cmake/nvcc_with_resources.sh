#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a compilation by nvcc and keeps what ptxas says of every kernel's registers and spills beside the object, in
# OBJECT.ptxas: tools/check_spills.sh reads it. CMake's launcher: nvcc_with_resources.sh [ccache] nvcc ... -o OBJECT ...
object=
previous=
for argument in "$@"; do
  if [ "$previous" = -o ]; then object=$argument; fi
  previous=$argument
done
case "$object" in
  *.o) ;;
  *) exec "$@" ;;
esac
"$@" -Xptxas -v 2>"$object.ptxas"
status=$?
# All else that was said is for the user.
grep -vE "^ptxas info|bytes stack frame" "$object.ptxas" >&2
exit $status
