#!/usr/bin/env bash
# Installs the transports that dcsdk is measured against: those of Python with the given python,
# those of Node into .bench/node. What cannot be had here is said and left out; the results name it.
set -uo pipefail

python=$1
cd "$(dirname "$0")/.."
mkdir -p .bench/node

install_python() {
    "$python" -m pip install -qq --disable-pip-version-check --no-input "$@"
}

if ! "$python" -c 'import aiortc, cffi, reactor_webrtc' 2>/dev/null; then
    echo "installing aiortc and libwebrtc for Python"
    install_python --editable '.[bench]' || {
        echo "not all of them can be installed here; trying one by one"
        for package in aiortc cffi reactor-webrtc; do
            install_python "$package" || echo "$package will be missing from the results"
        done
    }
fi

if ! command -v npm >/dev/null; then
    echo "there is no npm here: libdatachannel and werift will be missing from the results"
elif ! cmp -s benchmarks/package.json .bench/node/package.json || [ ! -d .bench/node/node_modules ]; then
    echo "installing libdatachannel and werift for Node"
    cp benchmarks/package.json .bench/node/
    if ! (cd .bench/node && npm install --no-audit --no-fund --loglevel=error); then
        rm -f .bench/node/package.json
        echo "libdatachannel or werift will be missing from the results"
    fi
fi

ldconfig -p 2>/dev/null | grep -q libusrsctp ||
    echo "there is no libusrsctp here (on Debian: apt-get install libusrsctp2): it will be missing"
echo "ready for make bench"
