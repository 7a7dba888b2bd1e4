#!/usr/bin/env bash
# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# `make demo`: team a on the running sandbox, by the commands a user would type, then what to try.
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=/dev/null
source .sandbox/env
run() {
  printf '\n$ %s\n' "$*"
  "$@"
}
run ansible-playbook playbooks/prepare_gateway.yml
run ansible-playbook playbooks/onboard_team.yml -e team=a

host=prometheus-team-a.gateway-auth.test
# Chromium trusts exactly this key besides its own store, for this profile only.
key=$(openssl s_client -proxy "${SANDBOX_PROXY#*://}" -connect "$host:443" -servername "$host" </dev/null 2>/dev/null |
  openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
status=$(curl -sS --proxy "$SANDBOX_PROXY" --cacert "$SANDBOX_CA" --location --cookie-jar /dev/null \
  --output /dev/null --write-out '%{http_code} at %{url_effective}' "https://$host/" | cut -d'?' -f1)
cat <<EOF

Team a is online, behind a login. Without a session https://$host/ ends with $status.

Open (through the proxy $SANDBOX_PROXY, trusting the CA $SANDBOX_CA)
  https://prometheus-team-a.gateway-auth.test/
  https://alertmanager-team-a.gateway-auth.test/
In a browser:  chromium --user-data-dir=.sandbox/browser --proxy-server=$SANDBOX_PROXY --ignore-certificate-errors-spki-list=$key https://$host/
With curl:     curl --proxy $SANDBOX_PROXY --cacert $SANDBOX_CA -i https://$host/

Log in as (the sign-in page of the Entra double lists them, there is no password)
  alice, carol   members of team-a-developers: let in
  admin          platform administrator: let in
  bob, mallory   team b's member, and nobody's: refused with 403

Try next
  . .venv/bin/activate; . .sandbox/env
  ansible-playbook playbooks/onboard_team.yml -e team=a          # again: nothing changes
  ansible-playbook playbooks/onboard_team.yml -e team=b --check --diff
  ansible-playbook playbooks/verify_team.yml -e team=a
  \$EDITOR inventories/example/host_vars/team-a.yml                # remove an app, onboard again, see it go
  make sandbox-down
EOF
