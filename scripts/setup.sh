#!/bin/sh
# Sees that the tools to build and run are there. Root gets them installed; anybody else is told the one line that does it.
set -eu

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
# A header, tried as the build will use it.
need_header() { echo "#include <$1>" | cc -E - >/dev/null 2>&1 || missing="$missing $2"; }
java_is_new_enough() {
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 17 ]
}

if [ "$(uname)" = Darwin ]; then
    jdk=openjdk install="brew install"
    command -v cc >/dev/null 2>&1 || { echo "A C compiler is missing; install it: xcode-select --install" >&2; exit 1; }
else
    jdk=default-jdk-headless install="apt-get install -y"
    need cc gcc
    need c++ g++
    need make make
    need_header stdlib.h libc6-dev
    need pkg-config pkg-config
    need_header zlib.h zlib1g-dev
    need xz xz-utils
    need setpriv util-linux
fi
need tar tar
java_is_new_enough || missing="$missing $jdk"
need mvn maven

if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing:$missing"
        apt-get update -qq
        # shellcheck disable=SC2086 # one word a package
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        [ "$(uname)" = Darwin ] || install="sudo apt-get update && sudo $install"
        echo "Some tools are missing; install them and run the same command again: $install$missing" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing; install it and open a new terminal: curl https://sh.rustup.rs -sSf | sh" >&2
    exit 1
fi
