#!/usr/bin/env bash
# Checks the chart: Helm's own lint, values that its schema has to refuse, kube-score, and what a real API server says of each rendering.
# --offline leaves out the API server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

chart=charts/encrypted-queue-operator
namespace=encrypted-queue-operator
helm=$(tools/helm.sh --path)
work=$(mktemp -d)
servers=
finish() {
    [ -z "$servers" ] || { kill "$servers" && wait "$servers"; } 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

for values in "$chart"/ci/*-values.yaml; do
    name=$(basename "$values" -values.yaml)
    "$helm" lint --strict --quiet "$chart" --values "$values" >"$work/lint" 2>&1 || fail "$values: $(cat "$work/lint")"
    "$helm" template queues "$chart" --namespace "$namespace" --values "$values" >"$work/$name.yaml"
done
echo "helm lint: $(find "$chart/ci" -name '*-values.yaml' | wc -l) sets of values, nothing found"

# Each line of the table is refused, with the field that it names.
refused=0
while IFS=$'\t' read -r value field; do
    case $value in '' | '#'*) continue ;; esac
    # A comma outside JSON separates values.
    if "$helm" template queues "$chart" --set-json "$value" >/dev/null 2>"$work/refusal"; then fail "the schema lets $value in"; fi
    case $field in /*) field="at '$field'" ;; esac
    grep -qF -- "$field" "$work/refusal" || fail "$value is refused without naming $field: $(cat "$work/refusal")"
    refused=$((refused + 1))
done <"$chart/ci/refused.tsv"
echo "values.schema.json: $refused wrong values refused, each with its field"

# Left out on purpose: a limit of CPU (throttled renewals lose the lease); Always pulling (tags are never moved, and a registry that is away must not
# keep a pod from starting); anti-affinity (topology spread does the same, and better).
exceptions=(--ignore-container-cpu-limit --ignore-test container-image-pull-policy --ignore-test deployment-has-host-podantiaffinity)
for rendering in "$work"/*.yaml; do
    case $rendering in
        # Without NetworkPolicy and PodDisruptionBudget there is nothing to be content with.
        */minimal.yaml) continue ;;
    esac
    tools/kube-score.sh score --output-format ci "${exceptions[@]}" "$rendering" >"$work/score" || true
    if grep -E '^\[(CRITICAL|WARNING)\]' "$work/score" >&2; then fail "kube-score finds fault with $(basename "$rendering" .yaml)"; fi
    grep -q '^\[OK\]' "$work/score" || fail "kube-score said nothing of $(basename "$rendering" .yaml): $(head "$work/score")"
done
echo "kube-score: nothing found"

need go "it runs Argo CD's interpreter and Prometheus' parser"
# go_tests FOLDER: with a line every 15 s, since the first time compiles.
go_tests() { with_progress "tests of $1" env GOWORK=off CGO_ENABLED=0 nice go -C "$1" test ./...; }
go_tests tools/argocd-health
echo "Argo CD: its interpreter judges every state as expected"
"$helm" template queues "$chart" --values "$chart/ci/full-values.yaml" --show-only templates/monitoring/prometheusrule.yaml >"$work/rule"
PROMETHEUS_RULE=$work/rule go_tests tools/alerts
echo "Prometheus: alerts and dashboard read"

[ "${1:-}" != --offline ] || exit 0

need kubectl "it asks the API server"
tools/build-control-plane.sh >/dev/null
tools/moto/setup.sh >/dev/null
with_progress "building the servers' starter" cargo build --workspace --bins --locked
target=$(cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$target/debug/test-servers" >"$work/servers" 2>"$work/servers.log" &
servers=$!
for _ in $(seq 600); do
    [ ! -s "$work/servers" ] || break
    kill -0 "$servers" 2>/dev/null || fail "no API server: $(tail -n 5 "$work/servers.log")"
    sleep 0.1
done
[ -s "$work/servers" ] || fail "no API server within a minute"
KUBECONFIG=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["kubeconfig"])' "$work/servers")
export KUBECONFIG KUBECACHEDIR=$work/cache
kubectl create namespace "$namespace" >/dev/null
kubectl label namespace "$namespace" pod-security.kubernetes.io/{enforce,warn}=restricted >/dev/null
kubectl apply --server-side -f "$chart/crds" >/dev/null
kubectl wait --for=condition=Established crd --all >/dev/null
# accepted NAME: what stands on standard input is valid field by field, and the restricted profile would admit every pod (it only warns of templates).
accepted() {
    kubectl apply --server-side --dry-run=server --validate=strict --force-conflicts -f - >"$work/applied" 2>&1 ||
        fail "$1: $(grep -v 'serverside-applied' "$work/applied")"
    if grep -i 'warning' "$work/applied" >&2; then fail "the API server warns of $1"; fi
    echo "API server: $1, $(grep -c 'serverside-applied' "$work/applied") objects accepted without a warning"
}
for rendering in "$work"/*.yaml; do
    # The kinds of the Prometheus Operator are not known here.
    awk -v RS='\n---\n' '!/monitoring\.coreos\.com/ { print "---"; print }' "$rendering" | accepted "$(basename "$rendering" .yaml)"
done
kubectl kustomize deploy | accepted "kubectl apply -k deploy"
