# Build options and the INTERFACE targets that carry flags; there are no global flags.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(BRIGADE_TESTS "Build the tests" ON)
option(BRIGADE_FUZZ "Build only the fuzzers of the readers (Clang)" OFF)
option(BRIGADE_CUDA "Build the GPU backend (CUDA, cuDNN, NCCL)" OFF)
set(BRIGADE_CPU native CACHE STRING "Processor the kernels are compiled for (-march=); empty: the compiler's default")
# AVX2's kernels are tested wherever AVX-512's are.
set(other_cpus "")
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64" AND BRIGADE_CPU STREQUAL "native" AND CMAKE_BUILD_TYPE STREQUAL "Release")
  set(other_cpus x86-64-v3)
endif()
set(BRIGADE_TEST_CPUS "${other_cpus}" CACHE STRING "Processors (-march=) that the operations are tested for, too")
set(BRIGADE_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

add_library(brigade_warnings INTERFACE)
target_compile_options(brigade_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-psabi>)

add_library(brigade_sanitizers INTERFACE)
if(BRIGADE_SANITIZE)
  target_compile_options(brigade_sanitizers INTERFACE
    -fsanitize=${BRIGADE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(brigade_sanitizers INTERFACE -fsanitize=${BRIGADE_SANITIZE})
endif()

if(BRIGADE_FUZZ)
  target_compile_options(brigade_sanitizers INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Linked by rooms with arithmetic worth vectorising.
add_library(brigade_cpu INTERFACE)
if(BRIGADE_CPU)
  target_compile_options(brigade_cpu INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=${BRIGADE_CPU}>)
endif()
