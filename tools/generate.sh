#!/usr/bin/env bash
# Writes the generated files of the repository anew. --check only compares, and fails when one is stale.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

chart=charts/encrypted-queue-operator

# Every directory here is generated as a whole: what the generator does not write does not belong in it.
generated=(crds "$chart/crds" "$chart/values.schema.json" deploy docs/metrics.md)

# Written by hand, and kept as they are, but for what is embedded in deploy/aws/cloudformation.
kept() { find deploy -name kustomization.yaml -o -path deploy/rbac/namespace.yaml -o -path 'deploy/aws/*' -type f -not -path '*/.terraform*'; }

# render FILE TEMPLATE…: what the chart makes of its own values, without what says that Helm applied it.
render() {
    local file=$1 template arguments=()
    shift
    for template in "$@"; do arguments+=(--show-only "templates/$template"); done
    mkdir -p "$(dirname "$file")"
    {
        echo "# Generated from $chart by \`make generate\`; do not edit."
        tools/helm.sh template encrypted-queue-operator "$chart" --namespace encrypted-queue-operator "${arguments[@]}" |
            sed -e '/^# Source: /d' -e '/^ *helm\.sh\/chart: /d' -e '/^ *app\.kubernetes\.io\/managed-by: Helm$/d' | sed -e '1{/^---$/d}'
    } >"$file"
}

# The definitions of $1 as JSON by kind. Helm reads YAML anyway, so nothing else has to.
definitions_as_json() {
    local reader
    reader=$(mktemp -d)
    mkdir "$reader/templates" "$reader/definitions"
    cp "$1"/*.yaml "$reader/definitions"
    printf 'apiVersion: v2\nname: reader\nversion: 0.0.0\n' >"$reader/Chart.yaml"
    cat >"$reader/templates/definitions.yaml" <<'TEMPLATE'
{{ $all := dict }}{{ range $path, $_ := .Files.Glob "definitions/*" }}{{ $definition := $.Files.Get $path | fromYaml }}
{{- $_ := set $all $definition.spec.names.kind $definition }}{{ end }}{{ toRawJson $all }}
TEMPLATE
    tools/helm.sh template reader "$reader" | sed -n '/^{/p'
    rm -rf "$reader"
}

generate_into() {
    local file
    cargo run --quiet --bin encrypted-queue -- crds --output-dir "$1/crds"
    mkdir -p "$1/$chart" "$1/deploy" "$1/docs"
    cargo run --quiet --bin encrypted-queue -- metrics >"$1/docs/metrics.md"
    cp -R "$1/crds" "$1/$chart/crds"
    cp -R "$1/crds" "$1/deploy/crds"
    definitions_as_json "$1/crds" | python3 tools/chart/values_schema.py "$chart/values.schema.json" >"$1/$chart/values.schema.json"
    kept | while read -r file; do
        mkdir -p "$1/$(dirname "$file")"
        cp "$file" "$1/$file"
    done
    render "$1/deploy/rbac/operator.yaml" serviceaccount.yaml rbac/operator.yaml
    for file in author approver viewer; do render "$1/deploy/rbac/$file.yaml" "rbac/$file.yaml"; done
    for file in access-approvals namespace-labels; do render "$1/deploy/admission/$file.yaml" "admission/$file.yaml"; done
    for file in deployment logging poddisruptionbudget networkpolicy; do render "$1/deploy/operator/$file.yaml" "$file.yaml"; done
    render "$1/deploy/operator/service.yaml" monitoring/service.yaml
    python3 tools/aws/embed.py "$1/deploy/aws" "$1"/deploy/aws/cloudformation/*.yaml
}

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
generate_into "$fresh"
for directory in "${generated[@]}"; do
    if [ "${1:-}" = --check ]; then
        diff --recursive --unified --new-file "$directory" "$fresh/$directory" >&2 || fail "$directory/ is stale: run \`make generate\` and commit the result"
    else
        rm -rf "$directory"
        cp -R "$fresh/$directory" "$directory"
    fi
done
