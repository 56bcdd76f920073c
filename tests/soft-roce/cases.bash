# Sourced by what runs on every node of a cluster: runs each of its functions named case_* on all nodes in step. A case
# has passed if it did on each; node 1 prints that with the wall time, and a summary line as doctest prints it. CASES, a
# regular expression, picks some (scripts/soft-roce run --env CASES).
set -uo pipefail
node=$SOFT_ROCE_NODE

# fail TEXT: ends the case.
fail() {
  echo "  $1" >&2
  exit 1
}

# on NODE...: is this one of them?
on() {
  [[ " $* " == *" $node "* ]]
}

# within SECONDS COMMAND...
within() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $until ]] || fail "waited in vain until $*"
    sleep 0.1
  done
}

wait_until() {
  within 10 "$@"
}

# reaches ADDRESS: one ping of the busybox that the cluster needs anyway.
reaches() {
  busybox ping -c 1 -W 1 "$1" >/dev/null
}

# together NAME: within a case, waits for the other nodes. Fails if one has left the case.
together() {
  local barrier patience=50
  cluster barrier "$name: $1" &
  barrier=$!
  while kill -0 $barrier 2>/dev/null; do
    sleep 0.1
    # One that came through this barrier may be done already, so that the answer here is under way.
    if compgen -G "$SOFT_ROCE_SHARED/$name.*" >/dev/null && ((--patience == 0)); then
      kill $barrier
      fail "$1: a node has left the case"
    fi
  done
  wait $barrier || fail "not all nodes came: $1"
}

run_cases() {
  local passed=0 failed=0 name results start
  for name in $(compgen -A function case_ | grep -E "${CASES:-}"); do
    cluster barrier "before $name" || exit 1
    start=$EPOCHREALTIME
    ("$name")
    echo $? >"$SOFT_ROCE_SHARED/$name.$node"
    cluster barrier "after $name" || exit 1
    on 1 || continue
    results=$(cat "$SOFT_ROCE_SHARED/$name".*)
    if [[ ! $results =~ [^0[:space:]] ]]; then
      passed=$((passed + 1)) results=passed
    else
      failed=$((failed + 1)) results="FAILED ($(echo $results), by node)"
    fi
    echo "${0##*/} ${name#case_}: $results, $(((${EPOCHREALTIME/./} - ${start/./}) / 100000))00 ms"
  done
  on 1 || return 0
  echo "[doctest] test cases: $((passed + failed)) | $passed passed | $failed failed | 0 skipped"
  [[ $failed -eq 0 ]]
}
