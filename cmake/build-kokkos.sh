#!/usr/bin/env bash
# Builds Kokkos with the OpenMP and Serial execution spaces into PREFIX, once.
#
#   cmake/build-kokkos.sh PREFIX [JOBS]
#
# Debian 12 packages Kokkos with the Serial space only, but the source package it comes from
# (trilinos) holds all of Kokkos; only that folder is compiled (half a minute on two cores).
# Clusters with Spack or modules never get here: CMake finds their Kokkos first.
set -euo pipefail

prefix=${1:?usage: build-kokkos.sh PREFIX [JOBS]}
jobs=${2:-$(nproc)}
if [ -e "$prefix/lib/cmake/Kokkos/KokkosConfig.cmake" ]; then
  echo "Kokkos is already in $prefix"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "build-kokkos: no Kokkos found, and no apt-get to fetch its source with (not a Debian system)." \
       "Install Kokkos >= 3.4 with OpenMP (spack install kokkos +openmp) and set Kokkos_ROOT?" >&2
  exit 1
fi
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)  # apt reads its folders from elsewhere
work=$(mktemp -d "$(dirname "$prefix")/kokkos-work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# A private list of source packages beside the system's own, which stay untouched.
mkdir -p "$work/lists/partial" "$work/parts"
shopt -s nullglob
for list in /etc/apt/sources.list.d/*.sources; do
  sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/parts/$(basename "$list")"
done
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -e "$list" ] || continue
  sed -n 's/^deb /deb-src /p' "$list" >"$work/parts/$(basename "$list" .list).list"
done
apt_options=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts"
             -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
apt-get "${apt_options[@]}" update -qq
(cd "$work" && apt-get "${apt_options[@]}" source --download-only -qq trilinos)

tarball=$(echo "$work"/trilinos_*.orig.tar.*)
tar -xf "$tarball" -C "$work" --wildcards '*/packages/kokkos/*'
source_dir=$(echo "$work"/*/packages/kokkos)
cmake -S "$source_dir" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" \
      -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
      -DCMAKE_CXX_STANDARD=17 -DKokkos_CXX_STANDARD=17 \
      -DKokkos_ENABLE_OPENMP=ON -DKokkos_ENABLE_SERIAL=ON >"$work/configure.log"
cmake --build "$work/build" -j "$jobs" >"$work/build.log" || { tail -n 40 "$work/build.log" >&2; exit 1; }
cmake --install "$work/build" >/dev/null
echo "Kokkos installed in $prefix"
