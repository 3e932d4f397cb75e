# SPDX-License-Identifier: Apache-2.0
# Sourced by scripts that start ranks. Open MPI refuses to run as root unless told twice; threads that wait must not burn
# the cores that other ranks need.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMP_WAIT_POLICY=passive
