#!/usr/bin/env bash
# Installs the system libraries that memvpd is built with (Debian 12: apt). Does nothing where they are all there.
set -euo pipefail
packages=(libjpeg-dev libpng-dev libyaml-dev pkg-config)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
run=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "memvpd: install these packages first: ${missing[*]}" >&2; exit 69; }
    run=(sudo)
fi
echo "memvpd: installing system libraries with apt: ${missing[*]}" >&2
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
