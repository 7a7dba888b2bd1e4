#!/usr/bin/env bash
# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# Run the molecule scenario on MOLECULE_KUBECONFIG, or on the running sandbox. Arguments go to molecule (default: test).
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=/dev/null
source .sandbox/env
export KUBECONFIG=${MOLECULE_KUBECONFIG:-$KUBECONFIG}
exec molecule "${@:-test}"
