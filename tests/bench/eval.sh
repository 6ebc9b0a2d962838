#!/usr/bin/env bash
# Measures what each selection policy finds in long prompts: starts one server for each policy in turn on loopback, runs
# `keyhole eval` against it, and puts all results into one table, JSON file and drawing.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/common.sh"

BUILD="$REPO/build/cpu-release"
MODEL="$CACHE/models/$MODEL_FILE"
OUT="$REPO/build/eval"
HAYSTACK=
PORT=8580
POLICIES=()
EVALS=()
SERVER_PID=

usage() {
  cat <<END
Usage: tests/bench/eval.sh [--policy "NAME SERVER-FLAG..."]... [--eval "TASK FLAG..."]... [OPTION...]

  --policy TEXT    name in the table, then flags of keyhole-server; may be given again
                   (now: ${DEFAULT_POLICIES[*]@Q})
  --eval TEXT      task and flags of keyhole eval; may be given again
                   (now: ${DEFAULT_EVALS[*]@Q})
  --model PATH     (now $MODEL)
  --haystack FILE  prose (by default the King James Bible, by Debian's bible-kjv)
  --build DIR      where the server and the client are (now $BUILD)
  --out DIR        results.json, results.svg, table.txt, logs (now $OUT)
  --port N         of the server; N + 1000 for metrics (now $PORT)
END
}

DEFAULT_POLICIES=("esa --policy esa" "sink_recent --policy sink_recent --max-context 131072")
DEFAULT_EVALS=("needles --facts diverse --lengths 4096,16384" "needles --facts look-alikes --lengths 4096,16384")

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      --policy | --eval | --model | --haystack | --build | --out | --port) (($# > 1)) || die "$1 needs a value" ;;&
      --policy) POLICIES+=("$2") && shift ;;
      --eval) EVALS+=("$2") && shift ;;
      --model) MODEL=$2 && shift ;;
      --haystack) HAYSTACK=$2 && shift ;;
      --build) BUILD=$2 && shift ;;
      --out) OUT=$2 && shift ;;
      --port) PORT=$2 && shift ;;
      --help | -h) usage && exit 0 ;;
      *) usage >&2 && die "unknown argument: $1" ;;
    esac
    shift
  done
  ((${#POLICIES[@]} > 0)) || POLICIES=("${DEFAULT_POLICIES[@]}")
  ((${#EVALS[@]} > 0)) || EVALS=("${DEFAULT_EVALS[@]}")
  [[ -x $BUILD/server/keyhole-server && -x $BUILD/client/keyhole ]] || die "no server and client in $BUILD: build them first"
  [[ -z $HAYSTACK || -r $HAYSTACK ]] || die "cannot read $HAYSTACK"
}

# Verses without their numbers and headings.
make_haystack() {
  HAYSTACK="$OUT/haystack.txt"
  command -v bible >/dev/null || die "the program bible is missing: install Debian's bible-kjv, or give --haystack"
  bible -l 100000 gen1:1-rev22:21 </dev/null | sed -n 's/^  [0-9]* //p' >"$HAYSTACK"
}

keyhole() { "$BUILD/client/keyhole" --server "127.0.0.1:$PORT" "$@"; }

# start_server NAME FLAG...
start_server() {
  local log="$OUT/server-$1.log"
  shift
  "$BUILD/server/keyhole-server" --model "$MODEL" --listen "127.0.0.1:$PORT" \
    --metrics-listen "127.0.0.1:$((PORT + 1000))" "$@" >"$log" 2>&1 </dev/null &
  SERVER_PID=$!
  until keyhole health --wait 1 >/dev/null 2>&1; do
    kill -0 "$SERVER_PID" 2>/dev/null || { tail -n 5 "$log" >&2 && return 1; }
  done
}

stop_server() {
  local pid=$SERVER_PID
  SERVER_PID=
  if [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null; then
    wait "$pid" || true
  fi
}

# All evaluations of one policy; a failure leaves the others' results alone.
measure() {
  local name=$1 status=0 words text
  shift
  start_server "$name" "$@" || { say "$name: the server did not start" && return 1; }
  for text in "${EVALS[@]}"; do
    read -ra words <<<"$text"
    say "$name: $text"
    keyhole eval "${words[@]}" --haystack "$HAYSTACK" --servers "$name=127.0.0.1:$PORT" \
      "${EARLIER[@]}" --json "$OUT/results.json" >/dev/null || status=1
    [[ ! -e $OUT/results.json ]] || EARLIER=(--from "$OUT/results.json")
  done
  stop_server
  return "$status"
}

main() {
  local text words status=0
  parse_arguments "$@"
  mkdir -p "$OUT"
  rm -f "$OUT/results.json"
  EARLIER=()
  trap 'stop_server' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  [[ -n $HAYSTACK ]] || make_haystack
  for text in "${POLICIES[@]}"; do
    read -ra words <<<"$text"
    measure "${words[@]}" || status=1
  done
  [[ -e $OUT/results.json ]] || die "no results"
  keyhole eval report "${EARLIER[@]}" --plot "$OUT/results.svg" | tee "$OUT/table.txt"
  say "all in $OUT: results.json, results.svg, table.txt"
  return "$status"
}

main "$@"
