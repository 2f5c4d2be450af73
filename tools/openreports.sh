#!/usr/bin/env bash
# --path prints where the definition of ClusterReport is, as the Go module of OpenReports has it, downloaded once into Go's own cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ "${1:-}" = --path ] || fail "usage: tools/openreports.sh --path"
need go "it downloads the Go module of OpenReports"
module=$(env GOWORK=off go -C "$(dirname "${BASH_SOURCE[0]}")/openreports" mod download -json github.com/openreports/reports-api)
echo "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])' <<<"$module")/config/crd/openreports.io_clusterreports.yaml"
