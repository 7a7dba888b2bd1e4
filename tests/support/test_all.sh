#!/usr/bin/env bash
# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# `make test`: quick checks first, then everything that needs a cluster, in lanes side by side: each has a cluster of its own, so that
# nobody meets what another bends, and mostly waits. Ends at the first lane that fails and always with a line "N passed, N failed".
# A sandbox that ran before keeps running; what is started here is stopped here.
set -euo pipefail
cd "$(dirname "$0")/../.."

RESULTS=.cache/results
began=$SECONDS
stage=none
started_sandbox=false
declare -A lanes=()

sandbox_down() {
  SANDBOX_HOME=$1 python -m tests.sandbox down >"$RESULTS/down.log" 2>&1 || { cat "$RESULTS/down.log"; return 1; }
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  for job in "${!lanes[@]}"; do
    # shellcheck disable=SC2046 # a list of pids
    kill "$job" $(pgrep -P "$job") 2>/dev/null || true
  done
  for home in .sandbox-lane-*; do
    [[ ! -d $home ]] || sandbox_down "$home" || status=1
  done
  if [[ $started_sandbox == true ]]; then
    sandbox_down .sandbox || status=1
  fi
  ((status == 0)) || echo "test: failed in stage '$stage'" >&2
  echo "test: $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
  python -m tests.support.results "$RESULTS"/*.xml || status=1
  exit "$status"
}

stage() {
  stage=$1
  printf '\n== %s (%d s)\n' "$stage" $((SECONDS - began))
}

rm -rf "$RESULTS"
mkdir -p "$RESULTS"
trap finish EXIT
trap 'exit 130' INT TERM

stage 'fast checks'
tests/support/lint.sh fast
stage 'packages'
tests/support/deps.sh sandbox browser

# Before the unit tests, some of which use its Helm, egctl and oauth2-proxy.
stage 'sandbox'
if ! python -m tests.sandbox status >/dev/null 2>&1; then
  started_sandbox=true
fi
python -m tests.sandbox up

# In the background, its output in one piece when it has ended.
start() {
  local name=$1
  shift
  "$@" >"$RESULTS/$name.log" 2>&1 &
  lanes[$!]=$name
}

checks() {
  tests/support/lint.sh full
  pytest tests/unit --quiet --junitxml="$RESULTS/unit.xml"
}

# Tests on a cluster of their own.
lane() {
  local name=$1
  shift
  export SANDBOX_HOME=.sandbox-lane-$name
  python -m tests.sandbox up
  pytest "$@" --junitxml="$RESULTS/$name.xml"
  python -m tests.sandbox down
}

# Of what takes long a sample runs, another one for each commit; `make soak` runs all.
SAMPLE=${SAMPLE:-$((16#$(git rev-parse --short=7 HEAD 2>/dev/null || echo 1) % 100000))}
export SAMPLE KILL_SEED=$SAMPLE SESSIONS_SEED=$SAMPLE ATTACK_SEED=$SAMPLE
echo "test: the sample is SAMPLE=$SAMPLE"
stage 'lanes'
# A team's life with exactly its rights is in `make soak`.
ENTRA=(tests/e2e/test_entra.py tests/e2e/test_entra_kills.py tests/e2e/test_explain.py tests/e2e/test_sessions.py tests/e2e/test_open_windows.py)
GUARDS=(tests/e2e/test_admission.py tests/attack)
start entra lane entra "${ENTRA[@]}"
start guards lane guards "${GUARDS[@]}"
start checks checks
stage 'demo'
tests/sandbox/demo.sh
stage 'molecule'
tests/support/molecule.sh test
stage 'end to end'
pytest tests/e2e "${ENTRA[@]/#/--ignore=}" "${GUARDS[@]/#/--ignore=}" -m "not slow" --junitxml="$RESULTS/e2e.xml"
while ((${#lanes[@]})); do
  stage "lanes that go on: ${lanes[*]}"
  ended=0
  wait -n -p pid "${!lanes[@]}" || ended=$?
  name=${lanes[$pid]}
  unset "lanes[$pid]"
  stage=$name
  ((ended == 0)) || { cat "$RESULTS/$name.log"; exit "$ended"; }
  { grep '^lint: ' || true; } <"$RESULTS/$name.log"
  tail -n 3 "$RESULTS/$name.log"
done
