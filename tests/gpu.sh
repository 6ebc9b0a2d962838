#!/usr/bin/env bash
# Carries the GPU tests and benches to a machine with a GPU, CUDA 13.0 and little else, and runs them there.
#
#   tests/gpu.sh bundle [BUILD [TO]]    here: from a finished cuda-release build to a folder (build/gpu-bundle)
#   tests/gpu.sh programs               here: what has to be built for that
#   ./gpu.sh PIECE...                   there, in that folder; `./gpu.sh pieces` names them
#
# A piece takes less than ten minutes. Each result is one JSON object on a line of its own; the exit status is 1 if
# anything failed, a missing GPU included.
set -euo pipefail

PROGRAMS=(tests/gpu/gpu_ops_test tests/gpu/gpu_model_test tests/bench/gpu/gpu_kernels_bench tests/bench/gpu/gpu_decode_bench)
PIECES=(tests model-tests rank-tests sanitizer-memory sanitizer-races sanitizer-model-memory sanitizer-model-races
  bench-kernels bench-decode-host bench-decode-auto bench-decode-device
  bench-decode-host-int8 bench-decode-auto-int8 bench-decode-device-int8 bench-full-attention bench-capacity)
LIMIT_BYTES=60000000
SECONDS_A_PIECE=520 # of ten minutes: the GPU is looked for before, and ten seconds are to end in
RANKS='DeviceRanksTest.*' # of the model's tests: processes of their own
# Under the sanitizers a test takes up to a hundred times as long: all operators, without the million of scores.
SANITIZED='-*TopKOfAMillion:*CausalAttention*'
# Of the model's: attention's steps with every policy and residency, and a forward pass.
SANITIZED_MODEL='AttentionGpuTest.*:LlamaGpuTest.ResidenciesAgreeBitForBit'

bundle() {
  local build=${1:-build/cuda-release} to=${2:-build/gpu-bundle} program libraries library name bytes
  rm -rf "$to"
  mkdir -p "$to/bin" "$to/lib"
  for program in "${PROGRAMS[@]}"; do
    [[ -x $build/$program ]] || { echo "$build/$program is missing: build the preset cuda-release" >&2; return 1; }
    strip -o "$to/bin/$(basename "$program")" "$build/$program"
  done
  mapfile -t libraries < <(ldd "$to"/bin/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u)
  for library in "${libraries[@]}"; do
    name=$(basename "$library")
    case $name in
      # The system's core, no older there than here: other programs load it as well.
      libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | libutil.so* | ld-linux*) ;;
      libstdc++.so* | libgcc_s.so*) ;;
      libcuda*.so* | libtorch* | libc10* | libgomp* | libcupti*) ;; # of CUDA and of the wheels there
      libgrpc* | libprotobuf*)
        echo "$name belongs to the service: a test or a bench is linked with too much" >&2
        return 1
        ;;
      *) strip -o "$to/lib/$name" "$library" ;;
    esac
  done
  cp "${BASH_SOURCE[0]}" "$to/gpu.sh"
  cp "$(dirname "${BASH_SOURCE[0]}")/bench/gpu/full_attention.py" "$to/"
  bytes=$(du -sb "$to" | cut -f1)
  echo "$to: $bytes bytes" >&2
  ((bytes <= LIMIT_BYTES)) || { echo "more than $LIMIT_BYTES bytes" >&2; return 1; }
}

# Where the CUDA runtime, LibTorch and the driver may be: the toolkit, the wheels beside PyTorch, a container's mount.
library_path() {
  local wheels
  wheels=$(python3 -c 'import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("torch").origin).parents[1])' 2>/dev/null || true)
  wheels=${wheels:-/nonexistent}
  printf '%s:' "$HERE/lib" "$wheels/torch/lib" /usr/local/cuda/lib64 "$wheels/nvidia/cu13/lib" "$wheels/nvidia/nccl/lib"
  echo "${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/nvidia/lib64"
}

# limited SECONDS COMMAND...: with the libraries that our programs need.
limited() { LD_LIBRARY_PATH=$LIBRARIES timeout -k 10 "$@"; }

# Sets PROBLEM to why nothing can run, if so: a bench opens the GPU before it looks for a kernel of such a name.
find_problem() {
  local said
  PROBLEM=
  said=$(limited 60 bin/gpu_kernels_bench none 2>&1) ||
    PROBLEM="the GPU cannot be used: $(tail -n 1 <<<"${said:-no answer}" | tr -cd '[:alnum:] .,:;/()_-')"
}

# result PIECE STATUS SECONDS [FIELDS]
result() {
  local outcome=passed problem=
  if (($2 != 0)); then
    outcome=failed
    if (($3 >= SECONDS_A_PIECE)); then
      problem="took longer than $SECONDS_A_PIECE s"
    elif (($2 > 128)); then
      problem="ended by signal $(($2 - 128))"
    fi
  fi
  printf '{"piece": "%s", "result": "%s", "status": %d, "seconds": %d%s%s}\n' \
    "$1" "$outcome" "$2" "$3" "${4:+, $4}" "${problem:+, \"problem\": \"$problem\"}"
}

# counts LOG: how many tests passed and failed, as fields. GoogleTest's brief form does not close with those that failed.
counts() {
  local passed failed
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$1" | tail -1)
  failed=$(grep -c '^\[  FAILED  \] .* ms)$' "$1" || true)
  printf '"passed": %d, "failed": %d' "${passed:-0}" "$failed"
}

# gtest PIECE COMMAND...: everything it prints goes to stderr.
gtest() {
  local piece=$1 log status=0 begin=$SECONDS
  shift
  log=$(mktemp)
  limited "$SECONDS_A_PIECE" "$@" >"$log" 2>&1 || status=$?
  cat "$log" >&2
  grep -q '^\[  PASSED  \] [1-9]' "$log" || ((status != 0)) || status=1  # no test is no success
  result "$piece" "$status" $((SECONDS - begin)) "$(counts "$log")"
  rm -f "$log"
  return "$status"
}

# sanitizer PIECE PROGRAM FILTER TOOL...
sanitizer() {
  local piece=$1 tested=$2 filter=$3 tool program options
  shift 3
  if ! program=$(command -v compute-sanitizer); then
    result "$piece" 127 0 '"problem": "no compute-sanitizer"'
    return 1
  fi
  for tool in "$@"; do
    options=(--tool "$tool" --error-exitcode 9)
    # Tests make calls fail on purpose, which it would count.
    [[ $tool != memcheck ]] || options+=(--report-api-errors no)
    gtest "$piece $tool" "$program" "${options[@]}" "bin/$tested" --gtest_brief=1 --gtest_filter="$filter" || return 1
  done
}

# bench PIECE COMMAND...: its lines are results; the last one says how it went.
bench() {
  local piece=$1 status=0 begin=$SECONDS
  shift
  limited "$SECONDS_A_PIECE" "$@" || status=$?
  result "$piece" "$status" $((SECONDS - begin))
  return "$status"
}

run_piece() {
  local decode=${1#bench-decode-}
  if [[ -n $PROBLEM ]]; then
    result "$1" 1 0 "\"problem\": \"$PROBLEM\""
    return 1
  fi
  case $1 in
    tests) gtest tests bin/gpu_ops_test ;;
    sanitizer-memory) sanitizer "$1" gpu_ops_test "$SANITIZED" memcheck ;;
    sanitizer-races) sanitizer "$1" gpu_ops_test "$SANITIZED" racecheck ;;
    sanitizer-model-memory) sanitizer "$1" gpu_model_test "$SANITIZED_MODEL" memcheck ;;
    sanitizer-model-races) sanitizer "$1" gpu_model_test "$SANITIZED_MODEL" racecheck ;;
    model-tests) gtest model-tests bin/gpu_model_test --gtest_filter="-$RANKS" ;;
    rank-tests) gtest rank-tests bin/gpu_model_test --gtest_filter="$RANKS" ;;
    bench-kernels) bench "$1" bin/gpu_kernels_bench ;;
    bench-decode-*-int8) bench "$1" bin/gpu_decode_bench "${decode%-int8}" --kv int8 ;;
    bench-decode-*) bench "$1" bin/gpu_decode_bench "$decode" --kv bf16 ;;
    # PyTorch finds its own libraries.
    bench-full-attention) bench "$1" env LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}" python3 full_attention.py ;;
    bench-capacity) bench "$1" bin/gpu_decode_bench capacity ;;
  esac
}

main() {
  case ${1:-} in
    bundle) shift; bundle "$@"; return ;;
    programs) printf '%s\n' "${PROGRAMS[@]##*/}"; return ;;
    pieces) printf '%s\n' "${PIECES[@]}"; return ;;
    '') sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; return 2 ;;
  esac
  local piece failed=0
  for piece in "$@"; do
    [[ " ${PIECES[*]} " == *" $piece "* ]] || { echo "unknown piece $piece: one of ${PIECES[*]}" >&2; return 2; }
  done
  HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  cd "$HERE"
  LIBRARIES=$(library_path)
  PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
  find_problem
  for piece in "$@"; do run_piece "$piece" || failed=1; done
  return "$failed"
}

main "$@"
