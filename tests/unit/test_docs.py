# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documents tell a reader to type is run by some test, and what they link to exists."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("roles/*/README.md"))]

# Command (a pattern), and where it is run: a file that holds the text after the colon. Or the reason why nothing runs it.
RUN_BY: dict[str, str] = {
    r"make (attack|demo|test|sandbox|sandbox-down|molecule|bench|soak|lint|lint-fast|lint-full|unit|e2e|venv|setup|deps|lock)": "Makefile:{0}:",
    r"make attack ATTACK_URL=https://\S+ ATTACK_CA=\S+": "tests/attack:ATTACK_URL=",
    r"(?:\.venv/bin/)?ansible-playbook playbooks/render_team\.yml -e team=a(?: -e dest=\w+)?": "tests/e2e:render_team",
    r"ansible-playbook playbooks/(?:prepare_gateway|onboard_team|verify_team|validate_teams)\.yml(?: -e team=a)?(?: --check --diff)?": "tests/e2e:playbook(",
    r"ansible-playbook playbooks/onboard_team\.yml -e team=b(?: -e adopt=all)?(?: --check --diff)?": "tests/e2e:adopt=all",
    r"ansible-playbook playbooks/plan_team\.yml -e team=a(?: -e '\{\S+ \[.*\]\}')?": "tests/e2e/test_plan.py:plan_team",
    r"ansible-playbook playbooks/onboard_team\.yml -e team=a -e plan=plan\.json": "tests/e2e/test_plan.py:plan=",
    r"ansible-playbook playbooks/offboard_team\.yml -e team=a(?: -e confirm=team-a)?(?: --check --diff)?": "tests/e2e/test_offboard.py:offboard_team",
    r"ansible-playbook playbooks/restore_team\.yml -e team=a": "tests/e2e/test_offboard.py:restore_team",
    r"ansible-playbook playbooks/verify_team\.yml -e team=a -e drift=true": "tests/e2e/test_plan.py:drift=true",
    r"ansible-playbook playbooks/verify_team\.yml -e team=a -e explain=https://\S+": "tests/e2e:explain=",
    r"ansible-playbook playbooks/validate_teams\.yml -e dest=findings\.(sarif|xml)": "tests/unit/plugins/action/test_compile_teams.py:findings.{0}",
    r"ansible-playbook playbooks/rotate_team\.yml -e team=a(?: -e rotate=(?:client_secret|cookie_secret|redis_password))?(?: --check --diff)?": (
        "tests/e2e:rotate_team"
    ),
    r"ansible-playbook platform\.gateway_auth\.onboard_team -i inventory -e team=a": "molecule:platform.gateway_auth.onboard_team",
    r"\.venv/bin/python -m tests\.sandbox (?:status|logs)": "tests/support/test_all.sh:tests.sandbox status",
    r"ansible-playbook playbooks/render_rights\.yml -e '.*'": "tests/e2e/test_rights.py:render_rights",
    r"kubectl apply -f rights\.json": "tests/e2e/test_rights.py:rights.json",
    r"\. \.sandbox/env": "tests/e2e/sandbox.py:.sandbox",
    r"curl --proxy \$SANDBOX_PROXY --cacert \$SANDBOX_CA .*": "tests/sandbox/demo.sh:--cacert",
    r"kubectl get [a-z,]+ --all-namespaces": "molecule:--all-namespaces",
    r"curl -s \$SANDBOX_ENTRA_ADMIN/(apps|journal)": "tests/unit/sandbox:/{0}",
    r"kubectl -n monitoring-team-a annotate securitypolicy oauth2-prometheus-team-a gateway-auth/(remove=true)": "tests/e2e/test_admission.py:gateway-auth/{0}",
}
NOT_RUN = {
    r"ansible-galaxy collection install .*": "the tests reach no Galaxy; lint installs the built tarball and runs its playbooks by name",
    r"python3 -m pip install -r ~/\.ansible/.*": "the same file is installed into .venv",
    r"python -m pip install -r ~/\.ansible/collections/ansible_collections/azure/.*": "1.5 GB; make soak installs the part of it that is used",
    r"kubectl get namespace kube-system -o jsonpath=.*": "plain kubectl",
    r"az (?:aks update|aks show|login) .*": "the tests reach no Azure; for the az that gives tokens a stand-in runs",
    r"ansible-playbook playbooks/onboard_team\.yml -e team=a -e adopt='\[Application/<client id>\]'(?: --check --diff)?": (
        "needs a registration made by hand; unit tests adopt one in the Entra double"
    ),
}


def commands(page: pathlib.Path) -> list[str]:
    """Every command of the ```console and ```sh blocks."""
    found = []
    for language, block in re.findall(r"^[ ]*```(console|sh)\n(.*?)^[ ]*```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            stripped = line.strip()
            if language == "console":
                found += [stripped[2:]] if stripped.startswith("$ ") else []
            elif stripped and not stripped.startswith("#"):
                found.append(stripped)
    return found


def holds(where: pathlib.Path, text: str) -> bool:
    files = [where] if where.is_file() else [path for path in where.rglob("*") if path.suffix in (".py", ".yml", ".sh")]
    return any(text in path.read_text(encoding="utf-8") for path in files)


COMMANDS = [pytest.param(command, id=f"{page.relative_to(ROOT)}: {command}") for page in PAGES for command in commands(page)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_run_by_a_test_or_says_why_not(command: str) -> None:
    command = command.split("  #")[0].strip()
    for pattern, where in RUN_BY.items():
        if match := re.fullmatch(pattern, command):
            file, _colon, text = where.partition(":")
            wanted = text.format(*match.groups())
            assert holds(ROOT / file, wanted), f"nothing in {file} holds {wanted!r}"
            return
    assert any(re.fullmatch(pattern, command) for pattern in NOT_RUN), "add it to RUN_BY, or to NOT_RUN with the reason"


@pytest.mark.parametrize("pattern", [*RUN_BY, *NOT_RUN])
def test_no_entry_outlives_its_command(pattern: str) -> None:
    assert any(re.fullmatch(pattern, str(entry.values[0]).split("  #")[0].strip()) for entry in COMMANDS)


def test_every_permission_that_a_document_names_is_known_to_the_code() -> None:
    """Graph's permissions, written as ``Resource.Right.Constraint``; one that is only warned of is named here."""
    warned_of = {"RoleManagement.ReadWrite.Directory"}
    code = (ROOT / "plugins/module_utils/_graph_permissions.py").read_text(encoding="utf-8")
    named = {name for page in PAGES for name in re.findall(r"\b[A-Z]\w+\.(?:Read|ReadWrite|ReadBasic)\.\w+", page.read_text(encoding="utf-8"))}
    assert {name for name in named - warned_of if f'"{name}"' not in code} == set()


def test_who_stays_logged_in_can_be_read_by_a_test() -> None:
    """docs/rotation.md: a rectangle of cells, each of which begins with yes, no or n/a; at least one of a row is held by the e2e test."""
    page = (ROOT / "docs" / "rotation.md").read_text(encoding="utf-8")
    table = page.partition("<!-- sessions:")[2].partition("<!-- end of sessions -->")[0]
    header, _rule, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    assert rows and all(len(row) == len(header) for row in rows)
    assert [cell for row in rows for cell in row[1:] if not re.fullmatch(r"(?:yes|no|n/a)(?: \(e2e\))?(?:: .+)?", cell)] == []
    assert [row[0] for row in rows if not any("(e2e)" in cell for cell in row)] == []


def test_every_threat_names_a_test_that_exists() -> None:
    """docs/security.md: each row names at least one, by file and function."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = page.partition("<!-- threats:")[2].partition("<!-- end of threats -->")[0]
    _header, _rule, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    for row in rows:
        threat, stops, tests = (cell.strip() for cell in row.strip().strip("|").split("|"))
        assert threat and stops
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
        assert named, f"no test for: {threat}"
        for file, name in named:
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file} has no {name}"


def anchors(page: pathlib.Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_internal_link_leads_somewhere(page: pathlib.Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _hash, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} doesn't exist"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"
