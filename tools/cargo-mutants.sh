#!/usr/bin/env bash
# Runs cargo-mutants at one version, installed once into the cache unless that on the PATH is it. Configuration: .cargo/mutants.toml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=27.1.0
# A mutant that is not noticed by a few hundred cases is missed.
export PROPTEST_CASES=${PROPTEST_CASES:-60} JUDGED_DECLARATIONS=${JUDGED_DECLARATIONS:-150}
if [ "$(cargo mutants --version 2>/dev/null)" = "cargo-mutants $version" ]; then
    exec cargo mutants "$@"
fi

installation=$cache_root/cargo-mutants/$version
if ! [ -x "$installation/bin/cargo-mutants" ]; then
    lock cargo-mutants
    [ -x "$installation/bin/cargo-mutants" ] ||
        with_progress "installing cargo-mutants $version (a few minutes, once)" \
            nice cargo install --locked cargo-mutants --version "$version" --root "$installation"
fi
exec "$installation/bin/cargo-mutants" mutants "$@" 9>&-
