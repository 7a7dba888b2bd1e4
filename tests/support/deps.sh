#!/usr/bin/env bash
# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

# Name, or as root on Debian install, the machine's packages that a part needs: deps.sh sandbox browser
set -euo pipefail

declare -A package_of=(
  [curl]=curl [git]=git [jq]=jq [unshare]=util-linux [nsenter]=util-linux [dpkg-deb]=dpkg [npm]=npm [ldd]=libc-bin
  [chromium]=chromium [chromedriver]=chromium-driver [certutil]=libnss3-tools
)
declare -A commands_of=([sandbox]="curl unshare nsenter dpkg-deb npm ldd" [browser]="chromium chromedriver certutil")

missing=()
for part in "$@"; do
  # A kind cluster brings its own.
  if [[ $part == sandbox && ${SANDBOX:-} == kind ]]; then continue; fi
  for command in ${commands_of[$part]}; do
    command -v "$command" >/dev/null || missing+=("${package_of[$command]}")
  done
done
((${#missing[@]})) || exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "deps: ${install[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive "${install[@]}" -qq >/dev/null
else
  echo "deps: missing ${missing[*]}. On Debian: sudo ${install[*]}" >&2
  exit 1
fi
