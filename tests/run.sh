#!/usr/bin/env bash
# Installs, builds and runs every check that needs no GPU, stage by stage. The last line is "N passed, N failed".
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/common.sh"
cd "$REPO"

STAGES=(setup format scripts proto rules deploy build unit tokenizer integration fuzz cuda asan tsan)
BUILD=build/cpu-release
LOGS=build/test-logs
HERE=
# What the sanitizers look at: all that a client or a file can reach and that builds without LibTorch; the threads of pool, engine
# and server. Not ranks and the service tests under TSan: LibTorch with its Gloo and Debian's gRPC are not instrumented, and what
# hides their false alarms hides ours, too.
ASAN_PROGRAMS=(unit_batch unit_kv_pages unit_kv_store unit_model_files unit_request unit_residency unit_runtime unit_sampling unit_scheduler
  unit_server unit_tokenizer simulation)
TSAN_PROGRAMS=(unit_device unit_runtime unit_server simulation)

stage_setup() { deploy/setup.sh --with-tests; }

stage_format() {
  git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs -r clang-format --dry-run -Werror
}

stage_scripts() {
  git ls-files '*.sh' .ci/run | xargs shellcheck -x
  git ls-files '*.py' | xargs "$CACHE/venv/bin/python" -m py_compile
}

stage_proto() {
  cd proto
  "$CACHE/venv/bin/buf" lint
  "$CACHE/venv/bin/buf" breaking --against image.binpb
}

stage_rules() { python_tests tests/rules; }

stage_deploy() { python_tests tests/deploy; }

stage_build() {
  configure cpu-release
  cmake --build "$BUILD" -j "$(build_jobs)"
}

stage_unit() {
  local status=0
  ctest --preset cpu-release -j "$(nproc)" --timeout 300 | tee "$LOGS/ctest.log" || status=1
  # A program that runs all its tests in one process is one test to ctest.
  awk '
    /^\[  PASSED  \] [0-9]+ test/ { passed += $4 - 1 }
    /^\[  FAILED  \] [0-9]+ test/ { passed += 1; failed += $4 - 1 }
    END { print "beside programs: " passed + 0 " passed, " failed + 0 " failed" }' "$BUILD/Testing/Temporary/LastTest.log"
  ((status != 0)) || return 0
  # The last lines of each failed test once more, at the end, which is what a terminal shows of a failed stage.
  awk '
    function flush(i) { for (i = n > 20 ? n - 20 : 0; i < n; ++i) print line[i]; n = 0 }
    / Test +#[0-9]+: |tests passed, / { flush(); failed = /\*\*\*/; if (failed) print "\n" $0; next }
    failed { line[n++] = $0 }' "$LOGS/ctest.log"
  return 1
}

stage_tokenizer() {
  "$CACHE/venv/bin/python" tests/golden/tokenizer_oracle.py --encode-tool "$BUILD/tests/tools/encode_tool" \
    --model "$CACHE/models/$MODEL_FILE" --megabytes 1
}

stage_integration() { python_tests tests/integration; }

stage_fuzz() { tests/fuzz/run.sh --short; }

# As far as a machine without a GPU can tell: what runs on one is built, fits into its bundle, and fails with a reason here.
stage_cuda() {
  local programs pieces said
  if ! PATH=$PATH:/usr/local/cuda/bin nvcc --version 2>/dev/null | grep 'release 13\.' >/dev/null; then
    echo "NOTE: nvcc of CUDA 13 is missing: tests and benches for a GPU were not built"
    return
  fi
  mapfile -t programs < <(tests/gpu.sh programs)
  mapfile -t pieces < <(tests/gpu.sh pieces)
  configure cuda-release -DKEYHOLE_SERVICE=OFF
  cmake --build build/cuda-release -j "$(build_jobs)" --target "${programs[@]}"
  tests/gpu.sh bundle
  said=$(CUDA_VISIBLE_DEVICES='' build/gpu-bundle/gpu.sh "${pieces[@]}" || true)
  echo "$said"
  (($(grep -c '"result": "failed".*"problem": "the GPU cannot be used' <<<"$said") == ${#pieces[@]}))
}

stage_asan() { sanitize cpu-asan "${ASAN_PROGRAMS[@]}"; }

# A test asks for more memory than there is. Under ASan it would stay an error: no model file may cause it.
stage_tsan() { TSAN_OPTIONS=allocator_may_return_null=1 sanitize cpu-tsan "${TSAN_PROGRAMS[@]}"; }

python_tests() { "$CACHE/venv/bin/python" -m unittest discover --verbose -s "$1" -p '*_test.py'; }

# configure PRESET OPTION...
configure() { cmake --preset "$1" -DKEYHOLE_DEPS_DIR="$CACHE/deps" "${@:2}"; }

# sanitize PRESET PROGRAM...: builds these test programs and runs their tests.
sanitize() {
  local preset=$1 program status=0
  shift
  configure "$preset"
  cmake --build "build/$preset" -j "$(build_jobs)" --target "$@"
  for program in "$@"; do
    timeout --verbose 900 "$(find "build/$preset/tests" -name "$program" -type f)" --gtest_brief=1 || status=1
  done
  return "$status"
}

# counts LOG: "PASSED FAILED" from the closing lines of ctest, GoogleTest and unittest; nothing if there are none.
counts() {
  awk '
    /^beside programs: / { passed += $3; failed += $5 }
    / tests? passed, [0-9]+ tests? failed out of / { total = $NF; failed += $4; passed += total - $4; seen = 1 }
    /^\[  PASSED  \] [0-9]+ test/ { passed += $4; seen = 1 }
    /^\[  FAILED  \] [0-9]+ test/ { failed += $4; seen = 1 }
    /^Ran [0-9]+ tests? in / { ran = $2; passed += ran; seen = 1 }
    /^(FAILED|OK) \(/ { n = 0; s = $0; while (match(s, /[0-9]+/)) { n += substr(s, RSTART, RLENGTH); s = substr(s, RSTART + RLENGTH) } failed += n; passed -= n }
    END { if (seen) print passed + 0, failed + 0 }' "$1"
}

usage() {
  cat <<END
Usage: tests/run.sh [--only STAGE]... [--here STAGE] [--list]

  --only STAGE  this stage alone; may be given again
  --here STAGE  this stage alone, with its output on the terminal and no summary

Stages, in order: ${STAGES[*]}
Their output: $LOGS/STAGE.log
END
}

parse_arguments() {
  local only=()
  while (($# > 0)); do
    case $1 in
      --only | --here)
        (($# > 1)) || die "$1 needs a stage"
        [[ " ${STAGES[*]} " == *" $2 "* ]] || die "no stage $2; there are: ${STAGES[*]}"
        if [[ $1 == --here ]]; then HERE=$2; else only+=("$2"); fi
        shift
        ;;
      --list) printf '%s\n' "${STAGES[@]}" && exit 0 ;;
      --help | -h) usage && exit 0 ;;
      *) usage >&2 && die "unknown argument: $1" ;;
    esac
    shift
  done
  if ((${#only[@]} > 0)); then STAGES=("${only[@]}"); fi
}

# Each stage runs in a shell of its own, in which the first failing command ends it. Setup may ask for a password.
run_stage() {
  local stage=$1 start=$SECONDS passed=1 failed=0 status=ok found=
  local command=(bash tests/run.sh --here "$stage")
  if [[ $stage == setup ]]; then
    "${command[@]}" || status=FAILED
  else
    run_step "$stage" "$LOGS/$stage.log" "${command[@]}" || status=FAILED
    found=$(counts "$LOGS/$stage.log")
  fi
  if [[ -n $found ]]; then
    read -r passed failed <<<"$found"
  elif [[ $status == FAILED ]]; then
    passed=0
  fi
  if [[ $status == FAILED ]] && ((failed == 0)); then failed=1; fi
  TOTAL_PASSED=$((TOTAL_PASSED + passed))
  TOTAL_FAILED=$((TOTAL_FAILED + failed))
  SUMMARY+=$(printf '%-12s %-7s %5d passed %4d failed %5d s' "$stage" "$status" "$passed" "$failed" "$((SECONDS - start))")$'\n'
  # What a stage has to say about what it left out.
  if [[ -f $LOGS/$stage.log ]]; then SUMMARY+=$(sed -n 's/^NOTE: /             /p' "$LOGS/$stage.log"); fi
  [[ $SUMMARY == *$'\n' ]] || SUMMARY+=$'\n'
  [[ $stage != setup || $status == ok ]]
}

main() {
  local stage
  parse_arguments "$@"
  if [[ -n $HERE ]]; then
    "stage_$HERE"
    return
  fi
  mkdir -p "$LOGS"
  TOTAL_PASSED=0 TOTAL_FAILED=0 SUMMARY=
  trap 'stop_running_step' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  for stage in "${STAGES[@]}"; do
    run_stage "$stage" || break
  done
  printf '\n%s\n%d passed, %d failed\n' "$SUMMARY" "$TOTAL_PASSED" "$TOTAL_FAILED"
  ((TOTAL_FAILED == 0))
}

main "$@"
