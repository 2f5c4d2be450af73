#!/usr/bin/env bash
# Runs the tests that speak to the API server against the oldest and the newest minor of Kubernetes that docs/compatibility.md promises, or against the
# folders of tools/control-plane that are named. Each kube-apiserver is built from its Go modules, once, into the cache.
#
# usage: test-minors.sh [FOLDER…]     kubernetes-oldest kubernetes-newest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

[ $# -gt 0 ] || set -- kubernetes-oldest kubernetes-newest
cargo test --locked --no-run --test api_server --test end_to_end
for folder in "$@"; do
    [ -f "tools/control-plane/$folder/go.mod" ] || fail "no module in tools/control-plane/$folder"
    KUBEBUILDER_ASSETS=$(KUBERNETES_MODULE=$folder tools/build-control-plane.sh | tail -n 1)
    export KUBEBUILDER_ASSETS
    log "against $("$KUBEBUILDER_ASSETS/kube-apiserver" --version)"
    cargo test --locked --test api_server
    cargo test --locked --test end_to_end
done
