# Shared by setup.sh, quickstart.sh and the scripts of tests/: messages, long steps with progress, and the paths they agree on.
# Sourced, never run; the caller has set -euo pipefail.
# shellcheck shell=bash disable=SC2034

REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly REPO
readonly DEPENDENCIES="$REPO/deploy/dependencies"
readonly MODEL_FILE=SmolLM2-135M-Instruct.Q4_1.gguf
CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/keyhole"
RUNNING_STEP=

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
die() {
  printf '\n%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# The step's whole process tree is stopped when the script is: background jobs of a script ignore Ctrl-C.
stop_running_step() {
  if [[ -n $RUNNING_STEP ]]; then
    stop_tree "$RUNNING_STEP"
    RUNNING_STEP=
  fi
}

stop_tree() {
  local child
  for child in $(cat "/proc/$1/task/"*/children 2>/dev/null || true); do
    stop_tree "$child"
  done
  kill -TERM "$1" 2>/dev/null || true
}

# run_step LABEL LOG COMMAND...: runs the command into LOG, shows its last line as it goes, and its end if it fails.
run_step() {
  local label=$1 log=$2 start=$SECONDS next interval=30 status=0
  shift 2
  [[ -t 1 ]] && interval=1
  next=$((SECONDS + interval))
  say "$label"
  "$@" >"$log" 2>&1 </dev/null &
  RUNNING_STEP=$!
  while kill -0 "$RUNNING_STEP" 2>/dev/null; do
    if ((SECONDS >= next)); then
      show_progress "$((SECONDS - start))" "$log"
      next=$((SECONDS + interval))
    fi
    sleep 0.2
  done
  wait "$RUNNING_STEP" || status=$?
  RUNNING_STEP=
  [[ -t 1 ]] && printf '\r\033[K'
  if ((status != 0)); then
    tail -n 25 "$log" >&2
    printf '%s: failed after %d s; all of its output: %s\n' "$label" "$((SECONDS - start))" "$log" >&2
  fi
  return "$status"
}

show_progress() {
  local line
  line=$(tail -c 400 "$2" | tr '\r' '\n' | tr -cd '[:print:]\n' | grep -v '^ *$' | tail -n 1 | cut -c1-90) || true
  if [[ -t 1 ]]; then
    printf '\r\033[K        %3d s  %s' "$1" "$line"
  else
    printf '        %3d s  %s\n' "$1" "$line"
  fi
}

# build_jobs: as many compilers as cores, but no more than memory for (LibTorch's headers cost 1.5 GB each).
build_jobs() {
  local cores memory_kb by_memory
  cores=$(nproc)
  memory_kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  by_memory=$((memory_kb / 1500000))
  ((by_memory < 1)) && by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# free_gigabytes DIR: whole GB left where DIR is or would be made.
free_gigabytes() {
  local folder=$1
  while [[ ! -d $folder ]]; do
    folder=$(dirname "$folder")
  done
  df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1000000) }'
}

# system_python: Debian's own, whatever stands before it in PATH.
system_python() {
  if [[ -x /usr/bin/python3 ]]; then
    echo /usr/bin/python3
  else
    command -v python3
  fi
}
