# SPDX-License-Identifier: Apache-2.0
# Options of the build, each with its default and what it changes; the targets that carry flags.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

option(HALFPIPE_TESTS "Build the tests" ON)
option(HALFPIPE_NATIVE "Compile for the CPU of this machine (-march=native)" ON)
option(HALFPIPE_WERROR "Treat warnings as errors" OFF)
set(HALFPIPE_SANITIZE "" CACHE STRING "Sanitizers, e.g. 'address,undefined' or 'thread'; empty for none")
set(HALFPIPE_MPI AUTO CACHE STRING "Transport between processes over MPI: AUTO, ON or OFF")
set(HALFPIPE_CUDA AUTO CACHE STRING "CUDA backend: AUTO, ON or OFF")
set(HALFPIPE_NCCL AUTO CACHE STRING "Messages between GPUs by NCCL: AUTO, ON or OFF")
set(HALFPIPE_CUDNN AUTO CACHE STRING "Attention by cuDNN: AUTO, ON or OFF")
set_property(CACHE HALFPIPE_MPI HALFPIPE_CUDA HALFPIPE_NCCL HALFPIPE_CUDNN PROPERTY STRINGS AUTO ON OFF)

foreach(option HALFPIPE_MPI HALFPIPE_CUDA HALFPIPE_NCCL HALFPIPE_CUDNN)
  if(NOT "${${option}}" MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "${option} (${${option}}) must be AUTO, ON or OFF")
  endif()
endforeach()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

include(HalfpipeCuda)
include(HalfpipeNccl)
include(HalfpipeCudnn)

# Warnings and code generation, linked PRIVATE by every target of the project. nvcc knows none of these options, and
# hands on to g++ what -Xcompiler says.
add_library(halfpipe_warnings INTERFACE)
add_library(halfpipe::warnings ALIAS halfpipe_warnings)
target_compile_options(halfpipe_warnings INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wconversion;-Wswitch>"
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall>)
if(HALFPIPE_WERROR)
  target_compile_options(halfpipe_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
endif()
if(HALFPIPE_NATIVE)
  target_compile_options(halfpipe_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
endif()
if(HALFPIPE_SANITIZE)
  add_compile_options(
    "$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${HALFPIPE_SANITIZE};-fno-omit-frame-pointer;-g>")
  add_link_options(-fsanitize=${HALFPIPE_SANITIZE})
endif()
