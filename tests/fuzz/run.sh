#!/usr/bin/env bash
# Builds the fuzzers with clang and runs each for a while, from the same seeds and the same random numbers every time.
#   tests/fuzz/run.sh [--seconds N] [--short] [--build DIR] [PROGRAM...]
# An input that breaks a program is left in DIR/crashes.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/common.sh"
cd "$REPO"

SECONDS_EACH=20
BUILD=build/fuzz
PROGRAMS=()
while (($# > 0)); do
  case $1 in
    --seconds) SECONDS_EACH=${2:?"--seconds needs a number"} && shift ;;
    --short) SECONDS_EACH=10 ;;
    --build) BUILD=${2:?"--build needs a folder"} && shift ;;
    -*) die "unknown option $1 (--seconds N, --short, --build DIR)" ;;
    *) PROGRAMS+=("$1") ;;
  esac
  shift
done
command -v clang++ >/dev/null || die "clang++ is missing: deploy/setup.sh --with-tests installs it"

mkdir -p "$BUILD"
run_step "configure the fuzzers" "$BUILD/configure.log" cmake -S . -B "$BUILD" -G Ninja \
  -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEYHOLE_DEPS_DIR="$CACHE/deps" \
  -DKEYHOLE_FUZZ=ON -DKEYHOLE_SERVICE=OFF -DKEYHOLE_TESTS=OFF -DKEYHOLE_BENCH=OFF
run_step "build the fuzzers" "$BUILD/build.log" cmake --build "$BUILD" --target fuzzers -j "$(build_jobs)"
"$(system_python)" tests/fuzz/make_seeds.py "$BUILD/seeds"
mkdir -p "$BUILD/crashes"

if ((${#PROGRAMS[@]} == 0)); then
  for source in tests/fuzz/*_fuzz.cc; do
    PROGRAMS+=("$(basename "$source" .cc)")
  done
fi

# Memory is held near the size of the input: a length that a file merely claims must not be believed.
for program in "${PROGRAMS[@]}"; do
  rm -rf "$BUILD/corpus/$program"
  mkdir -p "$BUILD/corpus/$program" "$BUILD/seeds/$program"
  run_step "$program for $SECONDS_EACH s" "$BUILD/$program.log" "$BUILD/tests/fuzz/$program" \
    -max_total_time="$SECONDS_EACH" -seed=1 -max_len=65536 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
    -print_final_stats=1 -artifact_prefix="$BUILD/crashes/$program-" \
    "$BUILD/corpus/$program" "$BUILD/seeds/$program"
  say "$program: $(grep -o 'stat::number_of_executed_units: *[0-9]*' "$BUILD/$program.log" | grep -o '[0-9]*$') inputs, no fault"
done
