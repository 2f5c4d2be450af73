#!/usr/bin/env bash
# Runs Helm at the one version that the chart is tested with: that on the PATH when it fits, else one built once from its Go module into the cache.
# --path prints where it is instead, building it if need be.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=$(required_version helm helm.sh/helm/v3)
helm=$(command -v helm || true)
if [ -z "$helm" ] || [ "$("$helm" version --template '{{ .Version }}' 2>/dev/null)" != "$version" ]; then
    # Without a cluster, charts are rendered for the Kubernetes of its client library: v0.36.1 is that of 1.36.
    minor=$(required_version helm k8s.io/client-go | cut -d . -f 2)
    flags="-X helm.sh/helm/v3/internal/version.version=$version"
    for package in chartutil lint/rules; do
        flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$minor"
    done
    helm=$(go_tool helm "$version" helm.sh/helm/v3/cmd/helm "$flags")
fi
if [ "${1:-}" = --path ]; then
    echo "$helm"
    exit
fi
exec "$helm" "$@"
