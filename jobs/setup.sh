#!/usr/bin/env bash
# Sets Brigade up on this machine: packages, Kokkos, build. What is there already is left alone.
#
#   bash jobs/setup.sh [--tests] [--peers] [--fuzz] [--preset NAME]
#
#   --tests   also the tests, and what they need
#   --peers   also PyTorch, for the side-by-side measurements in tests/peers
#   --fuzz    the fuzzers in tests/fuzz instead, with Clang
#   --preset  CMake preset to build (release); aarch64 is cross-compiled: in a chroot or container, see docs/portable.md
#
# On Debian 12 missing packages are installed (as root, or with sudo). Elsewhere (a cluster with
# modules or Spack, see spack.yaml) nothing is installed: load the libraries first, and CMake says
# what it cannot find.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. jobs/common.sh

preset=release target=brigade
packages=(g++ cmake ninja-build pkg-config ca-certificates
          openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libboost-program-options-dev libgtest-dev libgmock-dev
          libjpeg62-turbo-dev libpng-dev zlib1g-dev libminizip-dev nlohmann-json3-dev libfmt-dev libprotobuf-dev protobuf-compiler
          dpkg-dev dataset-fashion-mnist python3 python3-numpy python3-pandas python3-matplotlib python3-scipy python3-h5py)
while [ $# -gt 0 ]; do
  case $1 in
    --tests) packages+=(python3-pytest python3-pil slurm-wlm munge iproute2 tcl); target=all ;;
    --peers) packages+=(python3-torch python3-torchvision python3-pil libtcmalloc-minimal4) ;;
    --fuzz) packages+=(clang libclang-rt-14-dev); preset=fuzz target=all ;;
    --preset) preset=$2; shift ;;
    *) echo "setup: unknown option $1 (known: --tests, --peers, --fuzz, --preset NAME)" >&2; exit 2 ;;
  esac
  shift
done

[ "$preset" != tsan ] || packages+=(libomp-14-dev)

# Headers and libraries of another architecture, the compiler for it and qemu-user in place of the machine's own.
kokkos=$PWD/build/deps/kokkos
if [ "$preset" = aarch64 ]; then
  kokkos=$PWD/build/deps/kokkos-aarch64
  export CMAKE_TOOLCHAIN_FILE=$PWD/cmake/aarch64.cmake
  cross_packages=(g++-aarch64-linux-gnu qemu-user-static libgomp1:arm64)
  for package in "${packages[@]}"; do
    case $package in
      nlohmann-json3-dev) cross_packages+=("$package") ;;
      lib*-dev) cross_packages+=("$package:arm64") ;;
      g++ | cmake | ninja-build | pkg-config | ca-certificates | dpkg-dev | protobuf-compiler | python3) cross_packages+=("$package") ;;
    esac
  done
  packages=("${cross_packages[@]}")
fi

install_packages() {
  command -v dpkg-query >/dev/null || { echo "not a Debian system: using what is installed"; return 0; }
  local missing=() package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || { echo "all ${#packages[@]} packages are installed"; return 0; }
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
      echo "setup: these packages are missing, and this is neither root nor is there sudo: ${missing[*]}" >&2; return 1; }
    as_root=(sudo)
  fi
  echo "installing ${missing[*]}"
  [ "$preset" != aarch64 ] || "${as_root[@]}" dpkg --add-architecture arm64
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build_kokkos() {
  if [ -n "${Kokkos_ROOT:-}" ] || [ ! -x "$(command -v apt-get)" ]; then
    echo "using an installed Kokkos"
  else
    bash cmake/build-kokkos.sh "$kokkos"
  fi
}

build() {
  cmake --preset "$preset" >"build/configure-$preset.log" || { cat "build/configure-$preset.log" >&2; return 1; }
  cmake --build --preset "$preset" --target "$target" >"build/build-$preset.log" || {
    grep -v '^\[' "build/build-$preset.log" | head -n 60 >&2; return 1; }
  tail -n 1 "build/build-$preset.log"
}

step "packages" install_packages
step "Kokkos" build_kokkos
step "build ($preset)" build
