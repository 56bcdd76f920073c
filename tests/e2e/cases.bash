# Sourced by the tests of this folder: runs each of their functions named case_* in a folder of its own, ends what it
# started, and closes with a summary line as doctest prints it, which scripts/test counts.
#   NAME_test WEFT FABRIC_BENCH STRANGER JSON_VALUE
set -uo pipefail
weft=$(realpath "$1") bench=$(realpath "$2") stranger=$(realpath "$3") json_value_program=$(realpath "$4")

# fail TEXT: ends the case.
fail() {
  echo "  $1" >&2
  exit 1
}

# skip TEXT: ends the case as one that this machine cannot run.
skip() {
  echo "  skipped: $1" >&2
  exit 77
}

# expect_exit CODE COMMAND...: runs the command, with its output in the files stdout and stderr.
expect_exit() {
  local want=$1 got=0
  shift
  "$@" >stdout 2>stderr || got=$?
  [[ $got -eq $want ]] || fail "exit code $got, not $want: $* $(printf '\n'; head -c 2000 stdout stderr)"
}

# expect_text FILE PATTERN: the file has a line that the extended regular expression matches.
expect_text() {
  grep -Eq -- "$2" "$1" || fail "no line in $1 matches '$2': $(head -c 2000 "$1")"
}

expect_same() {
  cmp -- "$1" "$2" || fail "$1 and $2 differ"
}

# json_value FILE POINTER: one value of a JSON document, by its RFC 6901 pointer.
json_value() {
  "$json_value_program" "$1" "$2" || fail "$1 has no $2: $(head -c 2000 "$1")"
}

# random_file NAME BYTES
random_file() {
  head -c "$2" /dev/urandom >"$1"
}

# wait_until COMMAND...: within a minute.
wait_until() {
  local i
  for ((i = 0; i < 1200; ++i)); do
    if "$@" 2>/dev/null; then return; fi
    sleep 0.05
  done
  fail "waited in vain until $*"
}

# start NAME COMMAND...: in the background, with NAME.out and NAME.err; sets pid.
start() {
  : >"$1.out" # here already: nobody is to read what an earlier one of this name wrote
  "${@:2}" >"$1.out" 2>"$1.err" &
  pid=$!
  started+=("$pid")
}

# start_server NAME OPTION...: a daemon on a free port, with its store in NAME unless the options say otherwise; sets
# pid and address.
start_server() {
  local name=$1 options=(--store "$1" --listen 127.0.0.1:0)
  [[ $# -eq 1 ]] || options=("${@:2}")
  start "$name" "$weft" serve "${options[@]}"
  wait_until is_ready "$name.out" "$pid"
  address=$(sed -n 's/.*ready at \([^ ,]*\),.*/\1/p' "$name.out")
}

is_ready() {
  grep -q 'ready at' "$1" && return 0
  kill -0 "$2" || fail "it ended: $(cat "${1%.out}.err")"
  return 1
}

# ended PID [CODE]: waits for the end of a process and compares its exit code.
ended() {
  local got=0
  wait "$1" || got=$?
  [[ $got -eq ${2:-0} ]] || fail "process $1 ended with $got, not ${2:-0}"
}

# kill_hard PID: and waits for its end, so that the shell does not announce it.
kill_hard() {
  { kill -KILL "$1" && wait "$1"; } 2>/dev/null
}

# In a subshell: a folder, the case, and the end of everything that it started.
run_case() {
  started=()
  folder=$(mktemp -d) && cd "$folder" || exit 1
  end_all() {
    local each
    for each in "${started[@]}"; do kill_hard "$each"; done
    cd / && rm -rf "$folder"
  }
  trap end_all EXIT
  trap 'exit 1' INT TERM
  "$1"
}

run_cases() {
  local passed=0 failed=0 skipped=0 name code start
  for name in $(compgen -A function case_); do
    start=$SECONDS
    (run_case "$name")
    code=$?
    [[ $((SECONDS - start)) -lt 10 ]] || echo "${0##*/} ${name#case_}: $((SECONDS - start)) s"
    case $code in
      0) passed=$((passed + 1)) ;;
      77) skipped=$((skipped + 1)) ;;
      *) failed=$((failed + 1)) && echo "FAILED: ${0##*/} ${name#case_}" >&2 ;;
    esac
  done
  echo "[doctest] test cases: $((passed + failed)) | $passed passed | $failed failed | $skipped skipped"
  [[ $failed -eq 0 ]]
}
