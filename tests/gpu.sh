#!/usr/bin/env bash
# Carries the GPU tests and benches to a machine with a GPU, CUDA 13.0 and little else, and runs them there.
#
#   tests/gpu.sh bundle [BUILD [TO]]    here: from a finished cuda-release build to a folder (build/gpu-bundle)
#   ./gpu.sh PIECE...                   there, in that folder; `./gpu.sh pieces` names them
#
# A piece takes less than ten minutes. Each result is one JSON object on a line of its own; the exit status is 1 if
# anything failed, a missing GPU included.
set -euo pipefail

PROGRAMS=(tests/gpu/gpu_ops_test tests/gpu/gpu_model_test tests/bench/gpu/gpu_kernels_bench tests/bench/gpu/gpu_decode_bench)
PIECES=(tests model-tests rank-tests sanitizer-memory sanitizer-races sanitizer-model-memory sanitizer-model-races
  bench-kernels bench-decode-host bench-decode-auto bench-full-attention bench-capacity)
LIMIT_MIB=60
SECONDS_A_PIECE=590
RANKS='DeviceRanksTest.*' # of the model's tests: processes of their own
# Under the sanitizers a test takes up to a hundred times as long: all operators, without the million of scores.
SANITIZED='-*TopKOfAMillion:*CausalAttention*'
# Of the model's: attention's steps with every policy and residency, and a forward pass.
SANITIZED_MODEL='AttentionGpuTest.*:LlamaGpuTest.ResidenciesAgreeBitForBit'

bundle() {
  local build=${1:-build/cuda-release} to=${2:-build/gpu-bundle} program library
  rm -rf "$to"
  mkdir -p "$to/bin" "$to/lib"
  for program in "${PROGRAMS[@]}"; do
    [[ -x $build/$program ]] || { echo "$build/$program is missing: build the preset cuda-release" >&2; return 1; }
    strip -o "$to/bin/$(basename "$program")" "$build/$program"
  done
  # What is neither of the system's core nor of CUDA.
  ldd "$to"/bin/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
    case $(basename "$library") in
      libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | libutil.so* | libcuda*.so* | ld-linux*) ;;
      libtorch* | libc10* | libgomp* | libcupti*) ;;  # of the wheels there
      *) strip -o "$to/lib/$(basename "$library")" "$library" ;;
    esac
  done
  cp "${BASH_SOURCE[0]}" "$to/gpu.sh"
  cp "$(dirname "${BASH_SOURCE[0]}")/bench/gpu/full_attention.py" "$to/"
  local mib
  mib=$(du -sm "$to" | cut -f1)
  echo "$to: $mib MiB" >&2
  ((mib <= LIMIT_MIB)) || { echo "more than $LIMIT_MIB MiB" >&2; return 1; }
}

# Where the CUDA runtime may be: the toolkit, or the wheels beside PyTorch.
library_path() {
  local wheels
  wheels=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null || true)
  wheels=${wheels:-/nonexistent}
  echo "$HERE/lib:$wheels/torch/lib:/usr/local/cuda/lib64:$wheels/nvidia/cu13/lib:$wheels/nvidia/nccl/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

# result PIECE STATUS SECONDS [FIELDS]
result() {
  local outcome=passed
  (($2 == 0)) || outcome=failed
  printf '{"piece": "%s", "result": "%s", "status": %d, "seconds": %d%s}\n' "$1" "$outcome" "$2" "$3" "${4:+, $4}"
}

# counts LOG: the numbers in GoogleTest's closing lines, as fields.
counts() {
  local passed failed
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$1" | tail -1)
  failed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$1" | tail -1)
  printf '"passed": %d, "failed": %d' "${passed:-0}" "${failed:-0}"
}

# gtest PIECE COMMAND...: everything it prints goes to stderr.
gtest() {
  local piece=$1 log status=0 begin=$SECONDS
  shift
  log=$(mktemp)
  timeout "$SECONDS_A_PIECE" "$@" >"$log" 2>&1 || status=$?
  cat "$log" >&2
  grep -q '^\[  PASSED  \] [1-9]' "$log" || ((status != 0)) || status=1  # no test is no success
  result "$piece" "$status" $((SECONDS - begin)) "$(counts "$log")"
  rm -f "$log"
  return "$status"
}

# sanitizer PIECE PROGRAM FILTER TOOL...
sanitizer() {
  local piece=$1 tested=$2 filter=$3 tool program
  program=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  shift 3
  if [[ ! -x $program ]]; then
    result "$piece" 127 0 '"problem": "no compute-sanitizer"'
    return 1
  fi
  for tool in "$@"; do
    gtest "$piece $tool" "$program" --tool "$tool" --error-exitcode 9 "bin/$tested" --gtest_brief=1 --gtest_filter="$filter" \
      || return 1
  done
}

# bench PIECE COMMAND...: its lines are results; the last one says how it went.
bench() {
  local piece=$1 status=0 begin=$SECONDS
  shift
  timeout "$SECONDS_A_PIECE" "$@" || status=$?
  result "$piece" "$status" $((SECONDS - begin))
  return "$status"
}

run_piece() {
  case $1 in
    tests) gtest tests bin/gpu_ops_test ;;
    sanitizer-memory) sanitizer "$1" gpu_ops_test "$SANITIZED" memcheck ;;
    sanitizer-races) sanitizer "$1" gpu_ops_test "$SANITIZED" racecheck ;;
    sanitizer-model-memory) sanitizer "$1" gpu_model_test "$SANITIZED_MODEL" memcheck ;;
    sanitizer-model-races) sanitizer "$1" gpu_model_test "$SANITIZED_MODEL" racecheck ;;
    model-tests) gtest model-tests bin/gpu_model_test --gtest_filter="-$RANKS" ;;
    rank-tests) gtest rank-tests bin/gpu_model_test --gtest_filter="$RANKS" ;;
    bench-kernels) bench "$1" bin/gpu_kernels_bench ;;
    bench-decode-host) bench "$1" bin/gpu_decode_bench host ;;
    bench-decode-auto) bench "$1" bin/gpu_decode_bench auto ;;
    bench-full-attention) bench "$1" python3 full_attention.py ;;
    bench-capacity) bench "$1" bin/gpu_decode_bench capacity ;;
    *) echo "unknown piece $1: one of ${PIECES[*]}" >&2; return 2 ;;
  esac
}

main() {
  case ${1:-} in
    bundle) shift; bundle "$@"; return ;;
    pieces) printf '%s\n' "${PIECES[@]}"; return ;;
    '') sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; return 2 ;;
  esac
  HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  cd "$HERE"
  LD_LIBRARY_PATH=$(library_path)
  export LD_LIBRARY_PATH
  local piece failed=0
  for piece in "$@"; do run_piece "$piece" || failed=1; done
  return "$failed"
}

main "$@"
