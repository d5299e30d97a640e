#!/usr/bin/env bash
# Installs the real peers that the interop tests need, from the distribution (Debian, Ubuntu).
# What is there already is left alone; then no root is needed either.
set -euo pipefail

packages=(tshark)

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

stop() {
    echo "make interop cannot install ${missing[*]}: $1" >&2
    exit 2
}
command -v apt-get >/dev/null || stop "there is no apt-get here; install them by hand"
[ "$(id -u)" -eq 0 ] || stop "not root; run it as root, or apt-get install ${missing[*]} first"

# A package's own service must not start: it would listen on every address.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod +x "$guard"
    trap 'rm -f "$guard"' EXIT
fi

log=$(mktemp)
run() {
    "$@" >"$log" 2>&1 || { cat "$log" >&2; stop "$1 failed, see above"; }
}
export DEBIAN_FRONTEND=noninteractive
echo "installing ${missing[*]}; this takes about a minute"
run apt-get update -qq
run apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}"
rm -f "$log"
