#!/usr/bin/env bash
# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# `make test`: quick checks first, then everything that needs the cluster. Stops at the first stage that fails and always ends
# with a line "N passed, N failed". A sandbox that ran before keeps running; one started here is stopped here.
set -euo pipefail
cd "$(dirname "$0")/../.."

RESULTS=.cache/results
began=$SECONDS
stage=none
started_sandbox=false

finish() {
  local status=$?
  trap - EXIT INT TERM
  for job in ${checks:-} ${beside:-}; do
    # shellcheck disable=SC2046 # a list of pids
    kill "$job" $(pgrep -P "$job") 2>/dev/null || true
  done
  if [[ $started_sandbox == true ]]; then
    python -m tests.sandbox down >"$RESULTS/sandbox-down.log" 2>&1 || { status=1; cat "$RESULTS/sandbox-down.log"; }
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

# Checks and unit tests keep a processor busy, demo and molecule mostly wait: side by side, and the output of the former in one piece.
stage 'checks, unit tests, demo and molecule'
cache=${GATEWAY_AUTH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gateway-auth-sandbox}
OAUTH2_PROXY_BIN=$(find "$cache" -path '*/oauth2-proxy-*/oauth2-proxy' -type f -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d ' ' -f 2-)
export OAUTH2_PROXY_BIN
(
  tests/support/lint.sh full
  pytest tests/unit --quiet --junitxml="$RESULTS/unit.xml"
) >"$RESULTS/checks.log" 2>&1 &
checks=$!
tests/sandbox/demo.sh
stage 'molecule'
tests/support/molecule.sh test
# What mostly waits runs in two lanes (a team's life with exactly its rights is in `make soak`); what bends the Entra double or the platform's own objects runs after them, for that would hit anybody.
stage 'end to end, two lanes'
BESIDE=(tests/e2e/test_open_windows.py tests/e2e/test_sessions.py)
ALONE=(tests/e2e/test_entra.py tests/e2e/test_entra_kills.py tests/e2e/test_admission.py)
E2E_LANE=1 pytest "${BESIDE[@]}" --junitxml="$RESULTS/e2e-beside.xml" >"$RESULTS/beside.log" 2>&1 &
beside=$!
pytest tests/e2e "${BESIDE[@]/#/--ignore=}" "${ALONE[@]/#/--ignore=}" --ignore=tests/e2e/test_rights.py --junitxml="$RESULTS/e2e.xml"
wait "$beside" || { cat "$RESULTS/beside.log"; exit 1; }
tail -n 12 "$RESULTS/beside.log"
beside=
stage 'end to end, alone'
pytest "${ALONE[@]}" --junitxml="$RESULTS/e2e-alone.xml"
# The teams are online still, so theirs is a second run without change.
stage 'attacks'
pytest tests/attack --junitxml="$RESULTS/attack.xml"
stage 'checks and unit tests'
wait "$checks" || { cat "$RESULTS/checks.log"; exit 1; }
grep '^lint: ' "$RESULTS/checks.log"
tail -n 3 "$RESULTS/checks.log"
