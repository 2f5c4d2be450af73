#!/usr/bin/env bash
# Runs cargo-deny at the one version whose configuration deny.toml is: that on the PATH when it fits, else one installed once into the cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

program=$(cargo_tool cargo-deny 0.20.2)
exec "$program" "$@"
