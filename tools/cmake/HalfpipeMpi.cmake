# SPDX-License-Identifier: Apache-2.0
# Finds MPI as HALFPIPE_MPI asks. Sets MPI_FOUND; the target MPI::MPI_C is visible everywhere.
set(MPI_FOUND FALSE)
if(NOT HALFPIPE_MPI STREQUAL "OFF")
  enable_language(C)  # FindMPI looks for languages that are enabled; MPI::MPI_CXX would pull in the deprecated libmpi_cxx
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL TRUE)
  if(HALFPIPE_MPI STREQUAL "ON")
    find_package(MPI REQUIRED COMPONENTS C)
  else()
    find_package(MPI COMPONENTS C)
  endif()
  unset(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL)
endif()
