#!/usr/bin/env bash
# Compares our speed and memory with a peer's: installs and builds both sides, measures their cases in turns on the same file,
# and writes one JSON line a case.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/common.sh"

BENCH="$REPO/tests/bench"
BUILD="$REPO/build/cpu-release"
MODEL="$CACHE/models/$MODEL_FILE"
AGAINST=
JSON=
CASES=default
THREADS=2
CHECK=false

usage() {
  cat <<END
Usage: tests/bench/run.sh --against llama.cpp --json FILE [OPTION...]

  --against NAME  the peer: llama.cpp
  --json FILE     where the lines go
  --cases A,B     decode@0, @8k, @32k, @64k, @128k, @256k; prefill@0, @8k, @32k, @128k; prefill-q4_0@0; ttft@32k;
                  memory@128k; memory-int8@128k; batch8@0, @8k; or all (now all but ttft@32k, for which the peer
                  takes about 20 minutes)
  --model FILE    GGUF (now $MODEL)
  --threads N     of both sides (now $THREADS)
  --build DIR     of ours (now $BUILD)
  --check         tiny sizes of our side against a made-up peer, in seconds: no install, no build, no JSON

Exit status: 1 if a case failed; 3 if none did, but one asks for what we do not support.
END
}

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      --against | --json | --cases | --model | --threads | --build) (($# > 1)) || die "$1 needs a value" ;;&
      --against) AGAINST=$2 && shift ;;
      --json) JSON=$2 && shift ;;
      --cases) CASES=$2 && shift ;;
      --model) MODEL=$2 && shift ;;
      --threads) THREADS=$2 && shift ;;
      --build) BUILD=$2 && shift ;;
      --check) CHECK=true ;;
      --help | -h) usage && exit 0 ;;
      *) usage >&2 && die "unknown argument: $1" ;;
    esac
    shift
  done
  if $CHECK; then return; fi
  [[ $AGAINST == llama.cpp ]] || die "--against names the peer: llama.cpp"
  [[ -n $JSON ]] || die "--json names the file for the lines"
}

run_python() { PYTHONDONTWRITEBYTECODE=1 "$(system_python)" "$@"; }

compare() {
  run_python "$BENCH/compare.py" --model "$MODEL" --json "$JSON" --cases "$CASES" --threads "$THREADS" \
    --scratch "$CACHE/peer-models" --ours "${BUILD@Q}/tests/bench/speed_bench" \
    --peer "${CACHE@Q}/peer/bin/python ${BENCH@Q}/peer/llama_cpp_peer.py" "$@"
}

install_and_build() {
  local logs="$REPO/build/bench-logs"
  mkdir -p "$logs"
  "$REPO/deploy/setup.sh" --with-peer
  if [[ ! -f $BUILD/CMakeCache.txt ]]; then
    run_step "configuring our build" "$logs/configure.log" \
      cmake -S "$REPO" --preset cpu-release -B "$BUILD" -DKEYHOLE_DEPS_DIR="$CACHE/deps"
  fi
  run_step "building our benchmarks" "$logs/build.log" \
    cmake --build "$BUILD" -j "$(build_jobs)" --target speed_bench roofs_bench
}

main() {
  parse_arguments "$@"
  if $CHECK; then
    run_python "$BENCH/compare_test.py" "$BUILD/tests/bench/speed_bench"
    return
  fi
  trap 'stop_running_step' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  compare --dry-run
  install_and_build
  say "load of the machine: $(cut -d' ' -f1-3 /proc/loadavg); its roofs, and what our products reach of them:"
  "$BUILD/tests/bench/roofs_bench" --threads="$THREADS"
  say "the cases, ours and the peer's in turns:"
  compare
}

main "$@"
