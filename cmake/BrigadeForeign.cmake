# Every foreign library, found once. Rooms link the targets named here; nobody else includes them.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)                                    # fmt::fmt
find_package(nlohmann_json REQUIRED)                          # nlohmann_json::nlohmann_json
find_package(MPI REQUIRED COMPONENTS CXX)                     # MPI::MPI_CXX
find_package(Boost 1.71 REQUIRED COMPONENTS program_options)  # Boost::program_options
find_package(JPEG REQUIRED)                                   # JPEG::JPEG (libjpeg-turbo)
find_package(PNG REQUIRED)                                    # PNG::PNG
find_package(ZLIB REQUIRED)                                   # ZLIB::ZLIB
find_package(Protobuf REQUIRED)                               # protobuf::libprotobuf

# HDF5 with MPI: Debian names it by pkg-config, Spack and modules by HDF5_ROOT.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND AND NOT HDF5_ROOT AND NOT DEFINED ENV{HDF5_ROOT})
  pkg_check_modules(hdf5_openmpi QUIET IMPORTED_TARGET hdf5-openmpi)
endif()
add_library(brigade_hdf5 INTERFACE)
if(hdf5_openmpi_FOUND)
  target_link_libraries(brigade_hdf5 INTERFACE PkgConfig::hdf5_openmpi)
else()
  set(HDF5_PREFER_PARALLEL ON)
  find_package(HDF5 REQUIRED COMPONENTS C)
  target_link_libraries(brigade_hdf5 INTERFACE HDF5::HDF5 MPI::MPI_CXX)
endif()

# minizip (of zlib's contrib), which has no CMake package in Debian.
find_path(MINIZIP_INCLUDE_DIR unzip.h PATH_SUFFIXES minizip REQUIRED)
find_library(MINIZIP_LIBRARY minizip REQUIRED)
add_library(brigade_minizip INTERFACE)
target_include_directories(brigade_minizip SYSTEM INTERFACE ${MINIZIP_INCLUDE_DIR})
target_link_libraries(brigade_minizip INTERFACE ${MINIZIP_LIBRARY} ZLIB::ZLIB)

if(BRIGADE_FUZZ)
  return()  # no kernels, and Clang may not find the OpenMP that Kokkos was built with
endif()

# Kokkos with OpenMP: an installed one first (Kokkos_ROOT, Spack, modules), then the one that
# cmake/build-kokkos.sh put into build/deps, then, where the network allows, upstream's release.
set(BRIGADE_FETCH_KOKKOS OFF CACHE BOOL "Download and build Kokkos if none is installed")
find_package(Kokkos 3.4 QUIET HINTS ${PROJECT_SOURCE_DIR}/build/deps/kokkos)
if(NOT Kokkos_FOUND AND BRIGADE_FETCH_KOKKOS)
  include(FetchContent)
  set(Kokkos_ENABLE_OPENMP ON)
  FetchContent_Declare(Kokkos URL https://github.com/kokkos/kokkos/archive/refs/tags/4.6.02.tar.gz)
  FetchContent_MakeAvailable(Kokkos)
elseif(NOT Kokkos_FOUND)
  message(FATAL_ERROR "Kokkos was not found (not in CMAKE_PREFIX_PATH, Kokkos_ROOT or build/deps/kokkos). "
    "Run `bash jobs/setup.sh`, `bash cmake/build-kokkos.sh build/deps/kokkos`, or configure with "
    "-DBRIGADE_FETCH_KOKKOS=ON?")
endif()
if(NOT TARGET Kokkos::kokkos)
  message(FATAL_ERROR "The Kokkos found in ${Kokkos_DIR} has no target Kokkos::kokkos. Use Kokkos >= 3.4?")
endif()

if(BRIGADE_TESTS)
  find_package(GTest REQUIRED)                                # GTest::gtest, GTest::gtest_main
endif()

# How tests start ranks: more ranks than cores are allowed, and so is root (containers).
set(BRIGADE_MPIRUN mpirun --oversubscribe --bind-to none)
set(BRIGADE_TEST_ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMP_NUM_THREADS=1;OMP_PROC_BIND=false;GOMP_SPINCOUNT=1000")

set(BRIGADE_TEST_TIMEOUT_S 600)
if(BRIGADE_SANITIZE OR CMAKE_CROSSCOMPILING)  # many times slower; a preset's timeout would not count beside a test's own
  set(BRIGADE_TEST_TIMEOUT_S 7200)
endif()

# The thread sanitizer cannot see what GNU's OpenMP waits for, and takes every kernel of two threads for a race. LLVM's
# stands in for it (it has GNU's entry points, too), and its tool Archer tells the sanitizer.
if("thread" IN_LIST BRIGADE_SANITIZE)
  file(GLOB llvm_folders /usr/lib/llvm-*/lib)
  find_library(BRIGADE_LIBOMP NAMES libomp.so.5 HINTS ${llvm_folders})
  find_library(BRIGADE_ARCHER NAMES archer HINTS ${llvm_folders})
  if(NOT BRIGADE_LIBOMP OR NOT BRIGADE_ARCHER)
    message(FATAL_ERROR "The thread sanitizer needs LLVM's OpenMP and its tool Archer (libomp.so.5 or libarcher.so was not "
      "found in /usr/lib/llvm-*/lib). Install libomp-14-dev, or set BRIGADE_LIBOMP and BRIGADE_ARCHER?")
  endif()
  list(APPEND BRIGADE_TEST_ENVIRONMENT "LD_PRELOAD=${BRIGADE_LIBOMP}" "OMP_TOOL_LIBRARIES=${BRIGADE_ARCHER}"
    "TSAN_OPTIONS=ignore_noninstrumented_modules=1" "BRIGADE_TEST_THREADS=3")
endif()
