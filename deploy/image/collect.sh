#!/bin/sh
# collect.sh BUILD ROOTFS: copies the programs, stripped, and the libraries that came with the wheels to where they will be
# in the image. System libraries are left out: install_runtime.sh installs them as packages.
set -eu
build=$1 rootfs=$2
deps=$(sed -n 's/^KEYHOLE_DEPS_DIR:PATH=//p' "$build/CMakeCache.txt")
docs=$rootfs/usr/share/doc/keyhole

mkdir -p "$rootfs/usr/local/bin" "$docs"
for program in server/keyhole-server client/keyhole engine/calibration/keyhole-calibrate; do
  needs=$(ldd "$build/$program")
  case $needs in
    *'not found'*)
      printf '%s lacks libraries:\n%s\n' "$program" "$needs" >&2
      exit 1
      ;;
  esac
  install -m 755 -s "$build/$program" "$rootfs/usr/local/bin/"
  printf '%s\n' "$needs" | awk -v deps="$deps/" 'index($3, deps) == 1 { print $3 }' | while read -r library; do
    mkdir -p "$rootfs$(dirname "$library")"
    cp "$library" "$rootfs$library"
  done
done
for package in torch nvidia; do
  cp -r "$deps/$package/licenses" "$docs/$package-licenses"
done
