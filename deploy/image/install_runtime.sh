#!/bin/sh
# install_runtime.sh VERSION CREATED: in the image's last stage, installs [image-runtime] of apt.txt, writes the SBOM, and
# checks that the programs find all of their libraries.
set -eu
here=$(dirname "$0")
packages=$(awk '/^\[/ { on = ($0 == "[image-runtime]") } on && /^[a-z]/ { print $1 }' "$here/../dependencies/apt.txt")

export DEBIAN_FRONTEND=noninteractive
apt-get update
# shellcheck disable=SC2086
apt-get install -y --no-install-recommends $packages
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache

"$here/sbom.sh" "$1" "$2" "$here/../dependencies/python-build.txt" >/usr/share/doc/keyhole/sbom.spdx.json
for program in keyhole-server keyhole keyhole-calibrate; do
  "/usr/local/bin/$program" --help >/dev/null
done
