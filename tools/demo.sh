#!/usr/bin/env bash
# Shows the operator at work on this machine: a real Kubernetes API server, the AWS emulator behind a proxy nearly as strict as AWS, the operator.
# Nothing outside 127.0.0.1 is asked, and nothing is left behind. KEEP=1 leaves it running and says how to use and stop it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

operator_role=arn:aws:iam::123456789012:role/encrypted-queue-operator
check_period=5s
# Further arguments of the operator, for a closer look.
read -ra more <<<"${OPERATOR_ARGUMENTS:-}"
started=$SECONDS

need cargo
need python3
need kubectl "the demo uses it as you would"

# Whatever points at real accounts and clusters, or configures the operator, stays out.
for name in $(compgen -e); do
    case $name in
        AWS_* | ENCRYPTED_QUEUE_*) [ "$name" = ENCRYPTED_QUEUE_CACHE ] || unset "$name" ;;
    esac
done

demo=$(mktemp -d "${TMPDIR:-/tmp}/encrypted-queue-demo-XXXXXX")
: >"$demo/processes"

bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
step() { printf '%s== %s  (%d s)%s\n' "$bold" "$*" $((SECONDS - started)) "$plain"; }

# Stops what was started, newest first, and waits for it.
stop_all() {
    local process
    for process in $(sort -rn -k 1 "$demo/processes" | cut -d ' ' -f 2); do
        kill -TERM "$process" 2>/dev/null || continue
        for _ in $(seq 100); do
            kill -0 "$process" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf "$demo"
}

# Ends everything once this script is gone, however it went; with the file `keep`, once it is told to.
keeper() {
    trap '' INT HUP
    trap 'rm -f "$demo/keep"; told=1' TERM
    local told=
    until [ -n "$told" ] || { [ ! -e "$demo/keep" ] && ! kill -0 $$ 2>/dev/null; }; do sleep 0.3; done
    stop_all
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    if [ -e "$demo/keep" ]; then return; fi
    if [ "$status" -ne 0 ] && [ "$status" -ne 130 ] && [ "$status" -ne 143 ]; then
        log "demo: FAILED (exit status $status)"
        for file in servers operator; do
            [ -s "$demo/$file.log" ] || continue
            log "-- $file, the log's end:"
            tail -n 25 "$demo/$file.log" | cut -c 1-220 >&2
        done
    fi
    kill -TERM "$keeper" 2>/dev/null || true
    wait "$keeper" 2>/dev/null || true
    exit "$status"
}

# start NAME COMMAND…: in the background; its output goes to NAME.log. A closed terminal does not end it: the keeper does.
processes=0
start() {
    local name=$1
    shift
    (
        trap '' HUP
        exec "$@" </dev/null >>"$demo/$name.out" 2>"$demo/$name.log"
    ) &
    processes=$((processes + 1))
    echo "$processes $!" >>"$demo/processes"
}

# wait_for WHAT COMMAND…: until the command succeeds, for a minute at most.
wait_for() {
    local what=$1
    shift
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return
        kill -0 "$!" 2>/dev/null || fail "$what: it ended"
        sleep 0.1
    done
    fail "$what: not within a minute"
}

keeper </dev/null >/dev/null 2>&1 &
keeper=$!
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

with_progress "building the operator" cargo build --workspace --bins --locked
target=$(cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug
python=$(dirname "$(tools/moto/setup.sh --path)")/python
PATH=$target:$PATH

step "Servers: kube-apiserver and etcd; an AWS emulator behind a proxy that is nearly as strict as AWS"
start servers test-servers --operator-role "$operator_role" --operator-access-key operator --ledger "$demo/ledger"
wait_for "the servers" test -s "$demo/servers.out"
place() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$demo/servers.out" "$1"; }
KUBECONFIG=$(place kubeconfig)
AWS_ENDPOINT_URL=$(place awsEndpoint)
export KUBECONFIG AWS_ENDPOINT_URL KUBECACHEDIR=$demo/kubectl NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export AWS_ACCESS_KEY_ID=someone AWS_SECRET_ACCESS_KEY=secret AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
version=$(kubectl get --raw /version | python3 -c 'import json, sys; print(json.load(sys.stdin)["gitVersion"])')
echo "Kubernetes $version at $(kubectl config view -o 'jsonpath={.clusters[0].cluster.server}'), AWS at $AWS_ENDPOINT_URL"

step "Operator: compares every object with AWS every $check_period"
encrypted-queue crds | kubectl apply --server-side -f - >/dev/null
kubectl wait --for=condition=Established crd --all >/dev/null
start operator env AWS_ACCESS_KEY_ID=operator NO_COLOR=1 encrypted-queue run \
    --operator-role-arn "$operator_role" --check-period "$check_period" --http-address 127.0.0.1:0 "${more[@]}"
echo "IAM roles that the examples name: $("$python" tools/demo/aws.py roles examples --also "$operator_role") of the emulator"

step "kubectl apply -f examples/: two tenants in two AWS accounts, three tiers, four queues"
kubectl apply -f examples/namespaces.yaml >/dev/null
applied=$SECONDS
kubectl apply -f examples/ >/dev/null
kubectl wait --for=condition=Ready --timeout=60s encryptedqueues --all --all-namespaces >/dev/null || {
    kubectl get encryptedqueues --all-namespaces -o wide
    fail "not every queue became ready"
}
echo "all ready $((SECONDS - applied)) s after apply"

step "kubectl get eq --all-namespaces; kubectl get qk"
kubectl get eq --all-namespaces
kubectl get qk
queue_status() { kubectl -n acme-prod get eq orders -o "jsonpath={.status.$1}"; }
url=$(queue_status queue.url)

step "encrypted-queue explain queue/orders -n acme-prod, its first table"
# The table of who may what; after it come the explicit Denies and notes.
encrypted-queue explain queue/orders -n acme-prod | awk -v RS= 'NR == 2'

step "A message"
"$python" tools/demo/aws.py message "$url" --producer arn:aws:iam::123456789012:role/acme-orders-api \
    --consumer arn:aws:iam::123456789012:role/acme-orders-worker

step "Drift: someone switches the queue acme-orders to SSE-SQS"
"$python" tools/demo/aws.py drift "$url"
repaired() {
    kubectl -n acme-prod get events --field-selector involvedObject.name=orders,reason=DriftRepaired -o "jsonpath={.items[0].message}"
}
some() { [ -n "$("$@")" ]; }
wait_for "the Event" some repaired
echo "Event     DriftRepaired: $(repaired | sed 's/arn:aws:kms:[^,]*:key/key/')" | fold -s -w 110

step "At rest: kubectl get tenants; kubectl get tier"
# Counts are written every 30 s at most.
kubectl wait --for=jsonpath='{.status.compliantQueues}'=3 --timeout=40s tenant/acme >/dev/null
kubectl wait --for=jsonpath='{.status.compliantQueues}'=1 --timeout=40s tenant/globex >/dev/null
kubectl get tenants
kubectl get tier
audit_log=$(dirname "$KUBECONFIG")/audit.log
python3 tools/demo/at_rest.py --seconds 10 "$demo/ledger" "$audit_log"

if [ -n "${KEEP:-}" ] && [ "$KEEP" != 0 ]; then
    touch "$demo/keep"
    step "Left running"
    echo "export KUBECONFIG=$KUBECONFIG AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL"
    echo "export AWS_ACCESS_KEY_ID=someone AWS_SECRET_ACCESS_KEY=secret AWS_REGION=eu-west-1; PATH=$target:\$PATH"
    echo "AWS calls: $demo/ledger; Kubernetes writes: $audit_log; the operator's log: $demo/operator.log"
    echo "to stop:   kill $keeper"
else
    step "Done: everything is stopped and removed; make demo KEEP=1 leaves it running"
fi
