# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything runs from .venv, which the targets make and keep up to date by themselves.
PYTHON ?= python3
PYTEST_ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# One locale, and tools of .venv before any other; Ansible's own working files stay in the checkout.
export LC_ALL := C.UTF-8
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_HOME := $(CURDIR)/.ansible
# Without Python's cache each playbook would compile its libraries anew, which takes longer than the rest of a run without change.
unexport PYTHONDONTWRITEBYTECODE
REQUIREMENTS := requirements.txt $(wildcard requirements/*.txt) tests/sandbox/entra/requirements.txt tests/support/make_venv.py

.PHONY: help
help:  ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- .venv -----------------------------------------------------------------------------------------------------------------

.venv/.runtime .venv/.sandbox .venv/.dev: .venv/.%: $(REQUIREMENTS)
	@$(PYTHON) tests/support/make_venv.py $*

.PHONY: venv setup deps lock
venv: .venv/.runtime  ## what running the playbooks needs, in .venv

setup: .venv/.dev  ## what the checks and tests need, in .venv

deps:  ## check the machine's packages; as root on Debian, install what is missing
	@tests/support/deps.sh sandbox browser

lock: .venv/.dev  ## renew requirements/constraints.txt
	@(echo '# Exact versions of everything requirements/*.txt bring in. Made by `make lock`; do not edit.'; \
	  uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate requirements/dev.txt) > requirements/constraints.new
	@mv requirements/constraints.new requirements/constraints.txt

# -- the embedded cluster --------------------------------------------------------------------------------------------------

.PHONY: sandbox sandbox-down demo
sandbox: .venv/.sandbox  ## start the embedded cluster (again: nothing happens)
	@tests/support/deps.sh sandbox
	@python -m tests.sandbox up

sandbox-down: .venv/.sandbox  ## stop it, leaving nothing behind
	@python -m tests.sandbox down

demo: sandbox  ## from nothing to team a logged in
	@tests/sandbox/demo.sh

# -- checks and tests ------------------------------------------------------------------------------------------------------

.PHONY: lint lint-fast lint-full unit molecule e2e attack test bench soak
lint: lint-fast lint-full  ## every static check, offline

lint-fast: .venv/.dev  ## the part of lint that takes seconds
	@tests/support/lint.sh fast

lint-full: .venv/.dev  ## ansible-test sanity, the built collection and its import checks
	@tests/support/lint.sh full

unit: .venv/.dev  ## unit tests
	@pytest tests/unit $(PYTEST_ARGS)

molecule: sandbox .venv/.dev  ## check mode, converge, idempotence, verify, second team, an app removed
	@tests/support/molecule.sh

e2e: sandbox .venv/.dev  ## logins, pollers, canaries, bad input on the embedded cluster
	@tests/support/deps.sh browser
	@pytest tests/e2e $(PYTEST_ARGS)

# With ATTACK_URL a gateway elsewhere, by what needs no session: docs/security.md.
export ATTACK_URL ATTACK_PROXY ATTACK_CA ATTACK_PUBLIC
attack: $(if $(ATTACK_URL),,sandbox) .venv/.dev  ## attack the embedded cluster, or ATTACK_URL=https://<app> without a session
	@pytest tests/attack$(if $(ATTACK_URL),/test_anonymous.py) $(PYTEST_ARGS)

test: .venv/.dev  ## everything CI runs
	@tests/support/test_all.sh

bench: sandbox .venv/.dev  ## measure, and write docs/benchmarks.md
	@PYTHONPATH=.venv/collections python -m tests.bench

soak: .venv/.dev  ## the long proofs: every kill point, sandbox life cycle, repeated onboarding, the second pair of versions
	@tests/support/soak.sh
