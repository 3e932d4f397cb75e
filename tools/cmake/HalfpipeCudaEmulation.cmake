# SPDX-License-Identifier: Apache-2.0
# CUDA sources for the CPU: .cu files compiled by the host's compiler against tests/cuda_emulation, which finds errors of
# kernels and of the order of streams on machines without a GPU. The CUDA toolkit is not needed.
#
# halfpipe_emulated_cuda_library(NAME SOURCES a.cu b.cpp ... [DEPENDS public targets])
#   a static library, alias halfpipe::NAME. Paths into kernels/cuda may be absolute: ${PROJECT_SOURCE_DIR}/kernels/cuda/x.cu.
# halfpipe_emulated_cuda_test(NAME SOURCES x_test.cpp y_test.cu ... DEPENDS ... [TIMEOUT seconds] [SCHEDULES a b ...]
#                             [FILTER of GoogleTest])
#   one executable, run once per schedule of schedules_to_try() (tests/cuda_emulation/schedule.h), by the environment
#   variable HALFPIPE_EMULATION_SCHEDULE: NAME.forward, NAME.reverse, NAME.shuffled_1, ...; or only under SCHEDULES.
#
# Example (tests/kernels/cuda/CMakeLists.txt):
#   halfpipe_emulated_cuda_library(emulated_norm SOURCES ${PROJECT_SOURCE_DIR}/kernels/cuda/norm_forward.cu
#                                                        ${PROJECT_SOURCE_DIR}/kernels/cuda/cuda_check.cpp)
#   halfpipe_emulated_cuda_test(cuda_norm_test SOURCES norm_test.cpp DEPENDS halfpipe::emulated_norm)

set(HALFPIPE_CUDA_EMULATION_INCLUDE ${PROJECT_SOURCE_DIR}/tests/cuda_emulation/include)
set(HALFPIPE_EMULATION_SCHEDULES forward reverse shuffled:0 shuffled:1 shuffled:2 shuffled:3)

# What both have in common: the emulation's headers before all others; .cu is C++.
function(halfpipe_emulate_cuda target)
  target_include_directories(${target} BEFORE PRIVATE ${HALFPIPE_CUDA_EMULATION_INCLUDE})
  target_compile_options(${target} PRIVATE -Wno-unknown-pragmas)  # unroll
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    if(source MATCHES "\\.cu$")
      set_source_files_properties(${source} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS -xc++)
    endif()
  endforeach()
endfunction()

function(halfpipe_emulated_cuda_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS")
  set(target halfpipe_${name})
  add_library(${target} STATIC ${arg_SOURCES})
  target_link_libraries(${target} PUBLIC halfpipe::cuda_emulation ${arg_DEPENDS} PRIVATE halfpipe::warnings)
  halfpipe_emulate_cuda(${target})
  add_library(halfpipe::${name} ALIAS ${target})
endfunction()

function(halfpipe_emulated_cuda_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT;FILTER" "SOURCES;DEPENDS;SCHEDULES")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE halfpipe::cuda_emulation ${arg_DEPENDS} GTest::gtest GTest::gtest_main
                                        halfpipe::warnings)
  halfpipe_emulate_cuda(${name})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(NOT arg_SCHEDULES)
    set(arg_SCHEDULES ${HALFPIPE_EMULATION_SCHEDULES})
  endif()
  set(filter)
  if(arg_FILTER)
    set(filter --gtest_filter=${arg_FILTER})
  endif()
  foreach(schedule ${arg_SCHEDULES})
    string(REPLACE ":" "_" suffix ${schedule})
    add_test(NAME ${name}.${suffix} COMMAND ${name} ${filter})
    set_tests_properties(${name}.${suffix} PROPERTIES LABELS "unit;emulation" TIMEOUT ${arg_TIMEOUT}
      ENVIRONMENT "HALFPIPE_EMULATION_SCHEDULE=${schedule}")
  endforeach()
endfunction()
