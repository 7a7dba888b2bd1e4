#!/usr/bin/env bash
# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# `make soak`: the proofs that take long. Clients of Graph that others wrote, against the Entra double; azure.azcollection through our
# actions, against doubles of Key Vault and Resource Manager; fuzzing at length, by a seed that is printed; kill -9 at every request to
# Entra; every cell of the table of who stays logged in; a long flood and many mutated requests; ROUNDS (20) onboardings under the
# poller; the second pair of versions (ansible-core 2.21 on SECOND_PYTHON, Helm 3.18); the sandbox's own life cycle, kill -9 included.
set -euo pipefail
cd "$(dirname "$0")/../.."

ROUNDS=${ROUNDS:-20}
SECOND=.cache/second

echo "soak: msgraph-sdk and azure.azcollection against the Entra double (640 MB of them in .cache/graph-clients)"
python -m tests.soak.graph_clients
echo "soak: azure.azcollection through our actions: Key Vault and AKS"
PYTHONPATH=.venv/collections python -m tests.soak.azure_clients

python -m tests.sandbox up
# Some of it asks egctl, Helm and oauth2-proxy, which the sandbox brings.
FUZZ_SEED=${FUZZ_SEED:-$RANDOM$RANDOM}
export FUZZ_SEED
echo "soak: generated inventories, Helm values and models (again: FUZZ=long FUZZ_SEED=$FUZZ_SEED)"
FUZZ=long pytest tests/unit/fuzz tests/unit/plugins/module_utils/test_validate_helm.py --quiet

# Two lanes, each with a cluster of its own; both mostly wait.
RESULTS=.cache/results
mkdir -p "$RESULTS"
lane() {
  export SANDBOX_HOME=.sandbox-lane-soak
  python -m tests.sandbox up
  echo "soak: kill -9 at every request to Entra"
  KILLS=all pytest tests/e2e/test_entra_kills.py --quiet --junitxml="$RESULTS/soak-kills.xml"
  echo "soak: who stays logged in"
  SESSIONS=all pytest tests/e2e/test_sessions.py --quiet --junitxml="$RESULTS/soak-sessions.xml"
  python -m tests.sandbox down
}
finish() {
  local status=$?
  trap - EXIT
  kill "$beside" 2>/dev/null || true
  if [[ -d .sandbox-lane-soak ]]; then SANDBOX_HOME=.sandbox-lane-soak python -m tests.sandbox down || status=1; fi
  exit "$status"
}
lane >"$RESULTS/soak-lane.log" 2>&1 &
beside=$!
trap finish EXIT

echo "soak: end to end, every case of what \`make test\` takes a sample of"
pytest tests/e2e/test_bad_input.py tests/e2e/test_entra.py tests/e2e/test_explain.py tests/e2e/test_admission.py \
  tests/e2e/test_offboard.py tests/e2e/test_release_drift.py --quiet
echo "soak: a team's life with exactly its rights, and with each verb less"
pytest tests/e2e/test_rights.py --quiet

echo "soak: attacks, with a long flood and many mutated requests"
ATTACK_FLOOD=50000 ATTACK_MUTATIONS=20000 pytest tests/attack/test_anonymous.py tests/attack/test_failures.py --quiet -k 'flood or mutated'

echo "soak: $ROUNDS rounds of open windows"
for ((round = 1; round <= ROUNDS; round++)); do
  printf 'soak: round %d of %d\n' "$round" "$ROUNDS"
  pytest tests/e2e/test_open_windows.py --quiet
done
echo "soak: the lane beside"
ended=0
wait "$beside" || ended=$?
cat "$RESULTS/soak-lane.log"
((ended == 0)) || exit "$ended"

# A venv made with a newer Python, beside the usual one; `pyenv` has several, distributions name them python3.N.
second_python() {
  local candidate
  for candidate in ${SECOND_PYTHON:-} python3.14 python3.13 python3.12 ~/.pyenv/versions/3.1[2-9]*/bin/python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}
python=$(second_python)
if [[ -z $python ]]; then
  echo "soak: the second pair needs Python 3.12 or newer: SECOND_PYTHON=/path/to/python3.12 make soak" >&2
  exit 1
fi
echo "soak: second pair with $("$python" --version) and Helm 3"
mkdir -p "$SECOND/bin"
VENV=$SECOND/venv "$python" tests/support/make_venv.py dev
ln -sf "$PWD/.sandbox/bin/helm3" "$SECOND/bin/helm"
(
  # shellcheck source=/dev/null
  source .sandbox/env
  export PATH=$PWD/$SECOND/bin:$PWD/$SECOND/venv/bin:$PATH ANSIBLE_COLLECTIONS_PATH=$PWD/$SECOND/venv/collections
  ansible --version | head -1
  helm version --short
  pytest tests/unit --quiet
  molecule test
)

echo "soak: life cycle of the sandbox"
pytest tests/sandbox/test_lifecycle.py
