# brigade_room(NAME SOURCES ... [USES room ...] [LIBRARIES ...] [CPUS ...])
#
# One room, one target. USES names the rooms it may include; LIBRARIES are the foreign libraries,
# private to the room. Its doors are include/brigade/NAME/*.hpp; each is compiled alone when tests are on.
# CPUS: when tests are on, the room is compiled once more for each of these processors (-march=), as brigade_NAME_CPU.
function(brigade_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBRARIES;CPUS" ${ARGN})
  list(TRANSFORM ROOM_USES PREPEND brigade_)
  brigade_room_library(brigade_${name} ${ROOM_LIBRARIES})
  if(BRIGADE_TESTS)
    list(REMOVE_ITEM ROOM_LIBRARIES brigade_cpu)
    foreach(cpu IN LISTS ROOM_CPUS)
      brigade_room_library(brigade_${name}_${cpu} ${ROOM_LIBRARIES})
      target_compile_options(brigade_${name}_${cpu} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-march=${cpu}>)
    endforeach()

    file(GLOB doors CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/brigade/${name}/*.hpp)
    set(stubs)
    foreach(door IN LISTS doors)
      get_filename_component(stem ${door} NAME_WE)
      set(stub ${CMAKE_BINARY_DIR}/doors/${name}_${stem}.cpp)
      if(NOT EXISTS ${stub})
        file(WRITE ${stub} "#include \"brigade/${name}/${stem}.hpp\"\n")
      endif()
      list(APPEND stubs ${stub})
    endforeach()
    if(stubs)
      add_library(brigade_doors_${name} OBJECT ${stubs})
      target_link_libraries(brigade_doors_${name} PRIVATE brigade_${name} brigade_warnings)
    endif()
  endif()
endfunction()

# The library TARGET of the room that brigade_room() describes, with these foreign libraries.
macro(brigade_room_library target)
  add_library(${target} STATIC ${ROOM_SOURCES})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target}
    PUBLIC ${PROJECT_SOURCE_DIR}/include
    PRIVATE ${PROJECT_SOURCE_DIR}/src/${name})
  target_link_libraries(${target}
    PUBLIC ${ROOM_USES}
    PRIVATE ${ARGN} brigade_warnings brigade_sanitizers)
endmacro()

# brigade_test(NAME SOURCES ... [USES room ...] [LIBRARIES ...] [RANKS 1 2 3 4] [LABELS ...])
#
# A GoogleTest executable. With RANKS it is run under mpirun, once for each number of ranks.
function(brigade_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;USES;LIBRARIES;RANKS;LABELS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  list(TRANSFORM TEST_USES PREPEND brigade_)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE
    BRIGADE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" BRIGADE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(TEST_RANKS)
    target_link_libraries(${name} PRIVATE ${TEST_USES} ${TEST_LIBRARIES} GTest::gtest brigade_warnings brigade_sanitizers)
    foreach(ranks IN LISTS TEST_RANKS)
      add_test(NAME ${name}.ranks${ranks} COMMAND ${BRIGADE_MPIRUN} -n ${ranks} $<TARGET_FILE:${name}>)
      set_tests_properties(${name}.ranks${ranks} PROPERTIES LABELS "mpi;${TEST_LABELS}" TIMEOUT 300 PROCESSORS 2
        ENVIRONMENT "${BRIGADE_TEST_ENVIRONMENT}")
    endforeach()
  else()
    target_link_libraries(${name} PRIVATE ${TEST_USES} ${TEST_LIBRARIES} GTest::gtest_main brigade_warnings brigade_sanitizers)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "unit;${TEST_LABELS}" TIMEOUT ${BRIGADE_TEST_TIMEOUT_S}
      ENVIRONMENT "${BRIGADE_TEST_ENVIRONMENT}")
  endif()
endfunction()
