#!/usr/bin/env bash
# Installs the real peers that the interop tests need: from the distribution (Debian, Ubuntu), and
# from npm and PyPI into .interop. What is there already is left alone; then no root is needed, and
# it takes no time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=$root/.interop
min_node=20
libdatachannel="libdatachannel-py==2026.1.0"

log=$(mktemp)
guard=
trap 'rm -f "$log" $guard' EXIT

stop() {
    echo "make interop: $1" >&2
    exit 2
}
run() {
    "$@" >"$log" 2>&1 || { cat "$log" >&2; stop "$1 failed, see above"; }
}

# --- packages of the system ------------------------------------------------------------------------
packages=(tshark chromium libusrsctp-dev)
command -v npm >/dev/null || packages+=(npm)

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || stop "there is no apt-get here; install ${missing[*]} by hand"
    [ "$(id -u)" -eq 0 ] || stop "not root; run it as root, or apt-get install ${missing[*]} first"
    # A package's own service must not start: it would listen on every address.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        guard=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$guard"
        chmod +x "$guard"
    fi
    export DEBIAN_FRONTEND=noninteractive
    echo "installing ${missing[*]}; this takes about a minute"
    run apt-get update -qq
    run apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}"
fi
found_node=$(node --version)
major=${found_node#v}
[ "${major%%.*}" -ge $min_node ] || stop "node is $found_node; the peers need $min_node or newer"

# --- packages of npm -------------------------------------------------------------------------------
# Made beside and moved, so that an install that was cut short is done again.
if ! cmp -s "$here/peers/package.json" "$folder/node/package.json"; then
    echo "installing the peers that run on node"
    rm -rf "$folder/node"
    mkdir -p "$folder/node.new"
    cp "$here/peers/package.json" "$folder/node.new/"
    cd "$folder/node.new"
    run npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error
    cd "$root"
    mv "$folder/node.new" "$folder/node"
fi

# --- libdatachannel, for which a newer Python than ours will do ---------------------------------------
if [ ! -e "$folder/libdatachannel/.installed" ]; then
    for python in "$root/.venv/bin/python" python3 python3.{12,13,14} \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python; do
        "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' >"$log" 2>&1 || continue
        echo "installing libdatachannel-py"
        run "$python" -m venv --clear "$folder/libdatachannel"
        run "$folder/libdatachannel/bin/python" -m pip install -q --disable-pip-version-check \
            --no-input --only-binary :all: "$libdatachannel"
        touch "$folder/libdatachannel/.installed"
        break
    done
fi
