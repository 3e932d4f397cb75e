# SPDX-License-Identifier: Apache-2.0
# halfpipe_library(NAME HEADERS ... SOURCES ... [DEPENDS public targets] [PRIVATE_DEPENDS targets])
# halfpipe_test(NAME SOURCES ... DEPENDS ... [LABELS ...])
# halfpipe_cuda_test(NAME SOURCES ... DEPENDS ...)
# halfpipe_mpi_test(NAME TARGET executable RANKS n [LAUNCHER_ARGS ...] [TIMEOUT seconds])
# One target per folder; `halfpipe::NAME` is its alias. Headers are listed, so that each is proved to compile alone
# (target all_verify_interface_header_sets).

function(halfpipe_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "HEADERS;SOURCES;DEPENDS;PRIVATE_DEPENDS")
  set(target halfpipe_${name})
  if(arg_SOURCES)
    add_library(${target} STATIC)
    target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${arg_HEADERS}
                             PRIVATE ${arg_SOURCES})
    target_link_libraries(${target} PUBLIC ${arg_DEPENDS} PRIVATE halfpipe::warnings ${arg_PRIVATE_DEPENDS})
  else()
    add_library(${target} INTERFACE)
    target_sources(${target} INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${arg_HEADERS})
    target_link_libraries(${target} INTERFACE ${arg_DEPENDS})
  endif()
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  add_library(halfpipe::${name} ALIAS ${target})
endfunction()

function(halfpipe_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;DEPENDS;LABELS")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} GTest::gtest GTest::gtest_main halfpipe::warnings)
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()

# Needs a GPU and fails without one, so ctest does not know it: target cuda_tests builds all of them into
# <build>/cuda_tests/, where a script for machines with a GPU finds them.
function(halfpipe_cuda_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} GTest::gtest GTest::gtest_main halfpipe::warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/cuda_tests)
  if(NOT TARGET cuda_tests)
    add_custom_target(cuda_tests)
  endif()
  add_dependencies(cuda_tests ${name})
endfunction()

# Runs an executable on RANKS processes; Open MPI refuses more ranks than cores, and root, unless told otherwise.
function(halfpipe_mpi_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TARGET;RANKS;TIMEOUT" "LAUNCHER_ARGS")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_test(NAME ${name}
    COMMAND ${MPIEXEC_EXECUTABLE} -n ${arg_RANKS} --oversubscribe --bind-to none ${arg_LAUNCHER_ARGS}
            $<TARGET_FILE:${arg_TARGET}>)
  set_tests_properties(${name} PROPERTIES LABELS mpi TIMEOUT ${arg_TIMEOUT} PROCESSORS 2
    ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMP_WAIT_POLICY=passive")
endfunction()
