#!/usr/bin/env bash
# Lets the demo run under a real Prometheus, gives each panel of the Grafana dashboard something to show, and asks all their queries: a query that errs
# or answers nothing fails. What was answered is drawn as one page, target/dashboard.html (not by Grafana, which no package registry has).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

need python3
prometheus=$(tools/prometheus.sh --path)
python=$(dirname "$(tools/moto/setup.sh --path)")/python
work=$(mktemp -d)
keeper='' server=''
finish() {
    for process in $server $keeper; do kill "$process" 2>/dev/null || true; done
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# The queue of events comes later, so that reading it fails for a while.
export OPERATOR_ARGUMENTS="--audit-period 10s --drift-queue-url http://127.0.0.1/123456789012/dashboard-events --drift-region eu-west-1"
KEEP=1 tools/demo.sh >"$work/demo" 2>"$work/demo.log" || fail "the demo: $(tail -n 20 "$work/demo.log")"
keeper=$(sed -n 's/^to stop: *kill //p' "$work/demo")
operator_log=$(sed -n "s/.*the operator's log: //p" "$work/demo")
eval "$(grep '^export ' "$work/demo" | sed 's/;.*//')"
export AWS_DEFAULT_REGION=eu-west-1 AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
metrics=$(grep -o 'address=[0-9.:]*' "$operator_log" | head -n 1 | cut -d = -f 2)
log "the demo runs; metrics at $metrics"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/prometheus.yml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
scrape_configs:
  - job_name: encrypted-queue-operator
    static_configs: [{targets: ["$metrics"], labels: {namespace: encrypted-queue-operator}}]
YAML
"$prometheus" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --web.listen-address="127.0.0.1:$port" >"$work/prometheus.log" 2>&1 &
server=$!
for _ in $(seq 100); do
    curl -fsS "http://127.0.0.1:$port/-/ready" >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || fail "Prometheus: $(tail -n 5 "$work/prometheus.log")"
    sleep 0.2
done
sleep 10
"$python" tools/dashboard/scene.py
status=0
python3 tools/dashboard/panels.py --prometheus "http://127.0.0.1:$port" --page target/dashboard.html || status=1
log "the page: target/dashboard.html"
exit "$status"
