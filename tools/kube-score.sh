#!/usr/bin/env bash
# Runs kube-score, built once from its Go module into the cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kube_score=$(go_tool kube-score "$(required_version kube-score github.com/zegl/kube-score)" github.com/zegl/kube-score/cmd/kube-score "")
exec "$kube_score" "$@"
