#!/usr/bin/env bash
# Runs Prometheus, without its page and without service discovery, built once from its Go module into the cache. --path prints where it is instead.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export GOFLAGS=-tags=remove_all_sd
prometheus=$(go_tool prometheus "$(required_version prometheus github.com/prometheus/prometheus)" github.com/prometheus/prometheus/cmd/prometheus "")
if [ "${1:-}" = --path ]; then
    echo "$prometheus"
    exit
fi
exec "$prometheus" "$@"
