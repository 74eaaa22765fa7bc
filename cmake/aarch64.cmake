# Toolchain for 64-bit Arm on another Debian machine: g++-aarch64-linux-gnu and libraries of architecture arm64. Tests
# run under qemu-user where it is installed. docs/portable.md says how, the preset aarch64 uses it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
find_program(BRIGADE_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(BRIGADE_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${BRIGADE_QEMU} -L /)
endif()
