#!/usr/bin/env bash
# Runs cargo-deny at the one version whose configuration deny.toml is: that on the PATH when it fits, else one installed once into the cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=0.20.2
if [ "$(cargo deny --version 2>/dev/null)" = "cargo-deny $version" ]; then
    exec cargo deny "$@"
fi

installation=$cache_root/cargo-deny/$version
if ! [ -x "$installation/bin/cargo-deny" ]; then
    lock cargo-deny
    [ -x "$installation/bin/cargo-deny" ] ||
        with_progress "installing cargo-deny $version (a few minutes, once)" \
            nice cargo install --locked cargo-deny --version "$version" --root "$installation"
fi
exec "$installation/bin/cargo-deny" "$@" 9>&-
