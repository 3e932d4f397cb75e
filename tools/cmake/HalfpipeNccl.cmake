# SPDX-License-Identifier: Apache-2.0
# Finds NCCL as HALFPIPE_NCCL asks. Sets HALFPIPE_NCCL_FOUND; where that is true, the target halfpipe::nccl is visible
# everywhere.
set(HALFPIPE_NCCL_FOUND FALSE)
if(HALFPIPE_NCCL STREQUAL "OFF")
  return()
endif()

set(nccl_absence "")
if(HALFPIPE_CUDA_FOUND)
  # Some install it into the toolkit's folder.
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(NCCL_INCLUDE_DIR AND NCCL_LIBRARY)
    set(HALFPIPE_NCCL_FOUND TRUE)
    add_library(halfpipe::nccl SHARED IMPORTED)
    set_target_properties(halfpipe::nccl PROPERTIES
      IMPORTED_LOCATION ${NCCL_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${NCCL_INCLUDE_DIR})
  else()
    set(nccl_absence "nccl.h or libnccl is missing")
  endif()
else()
  set(nccl_absence "no CUDA backend")
endif()

if(HALFPIPE_NCCL_FOUND)
  message(STATUS "NCCL: ${NCCL_LIBRARY}")
elseif(HALFPIPE_NCCL STREQUAL "ON")
  message(FATAL_ERROR "HALFPIPE_NCCL=ON: ${nccl_absence}")
else()
  message(STATUS "NCCL: off (${nccl_absence})")
endif()
