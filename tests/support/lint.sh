#!/usr/bin/env bash
# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# Static checks: lint.sh fast | full. Every check runs even when an earlier one found something; the end names those that did.
set -euo pipefail
cd "$(dirname "$0")/../.."

CACHE=$PWD/.cache
TREE=$CACHE/collections
SHIPPED=$TREE/ansible_collections/platform/gateway_auth
failed=()

check() {
  local name=$1 began=$SECONDS
  shift
  printf 'lint: %-22s' "$name"
  if output=$("$@" 2>&1); then
    printf 'ok %4d s\n' $((SECONDS - began))
  else
    printf 'FAILED\n%s\n' "$output"
    failed+=("$name")
  fi
}

# The tarball users install, unpacked where ansible-test wants it: what ships is what is checked.
build() {
  rm -rf "$CACHE/build" "$TREE"
  mkdir -p "$CACHE/build" "$SHIPPED"
  ansible-galaxy collection build --output-path "$CACHE/build" .
  tar -xzf "$CACHE"/build/platform-gateway_auth-*.tar.gz -C "$SHIPPED"
  # ansible-test takes its list of files from git, and the checkout's git ignores this folder.
  git -C "$SHIPPED" init --quiet
  git -C "$SHIPPED" add --all
  ln -s "$PWD/.venv/collections/ansible_collections/kubernetes" "$TREE/ansible_collections/kubernetes"
}

docs() {
  ANSIBLE_COLLECTIONS_PATH=$TREE antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self --skip-rstcheck "$SHIPPED"
}

# What Galaxy and Automation Hub check at import. Its own ansible-lint run would be the second one.
importer() {
  local config=$CACHE/galaxy-importer.cfg report
  printf '[galaxy-importer]\nRUN_ANSIBLE_LINT = False\nRUN_ANSIBLE_TEST = False\nCHECK_REQUIRED_TAGS = True\nREQUIRE_V1_OR_GREATER = False\n' >"$config"
  report=$(cd "$CACHE" && GALAXY_IMPORTER_CONFIG=$config ANSIBLE_COLLECTIONS_PATH=$TREE python -m galaxy_importer.main "$CACHE"/build/platform-gateway_auth-*.tar.gz 2>&1) || { echo "$report"; return 1; }
  if grep -E '^(WARNING|ERROR)' <<<"$report"; then return 1; fi
}

# ansible-test keeps virtual environments under HOME: one folder for all checkouts, out of the user's way. It would fetch
# get-pip.py; ensurepip does the same without the network. pyenv's shims announce Pythons that then don't run.
sanity() {
  local home=${XDG_CACHE_HOME:-$HOME/.cache}/gateway-auth-sanity pip_cache path
  pip_cache=$(python -m pip cache dir)
  path=$(tr ':' '\n' <<<"$PATH" | grep -v 'pyenv/shims' | paste -sd:)
  mkdir -p "$home/.ansible/test/cache"
  echo 'import ensurepip; ensurepip.bootstrap(default_pip=True)' >"$home/.ansible/test/cache/get_pip_24_2.py"
  (cd "$SHIPPED" && env -u ANSIBLE_HOME HOME="$home" PATH="$path" PIP_CACHE_DIR="$pip_cache" ansible-test sanity --color no)
}

# Playbooks by FQCN, as an installed collection, away from the checkout's own settings.
installed() {
  local playbook
  : >"$CACHE/defaults.cfg"
  for playbook in "$SHIPPED"/playbooks/[a-z]*.yml; do
    (cd "$CACHE" && ANSIBLE_CONFIG=$CACHE/defaults.cfg ANSIBLE_COLLECTIONS_PATH=$TREE \
      ansible-playbook --syntax-check -i "$SHIPPED/inventories/example" "platform.gateway_auth.$(basename "$playbook" .yml)")
  done
}

case ${1:?fast or full} in
fast)
  check ruff ruff check .
  check mypy mypy
  check yamllint yamllint --strict .
  check 'generated docs' python -m tests.support.gen_docs --check
  check 'changelog' antsibull-changelog lint
  ;;
full)
  check ansible-lint env ANSIBLE_COLLECTIONS_PATH="$PWD/.venv/collections" ansible-lint --strict
  check 'collection build' build
  check 'installed playbooks' installed
  check antsibull-docs docs
  check galaxy-importer importer
  check 'ansible-test sanity' sanity
  ;;
esac

if ((${#failed[@]})); then
  echo "lint: failed: ${failed[*]}" >&2
  exit 1
fi
