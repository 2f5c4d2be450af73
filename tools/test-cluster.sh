#!/usr/bin/env bash
# Builds the image, gives it to the nodes of the cluster that KUBECONFIG names, and plays the main scenario there with the chart's pods: install, queues,
# the leader's end, upgrade, uninstall and install anew. The cluster must be without an operator; everything is taken away again.
#
# kind is known: the image is loaded, and pods reach this machine over its network. For another cluster say
#   LOAD_IMAGE   a command that gives nodes the archive which is appended to it, such as `ctr --namespace k8s.io images import`
#   LISTEN       where the emulator of AWS listens on this machine (127.0.0.1:4566)
#   ENDPOINT     the same as pods reach it, such as http://10.244.0.1:4566
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

need kubectl
[ -n "${KUBECONFIG:-}" ] || fail "KUBECONFIG: name the cluster to test in; for one on this machine: kind create cluster --kubeconfig FILE"
context=$(kubectl config current-context) || fail "KUBECONFIG: $KUBECONFIG has no current context"

if [ "${context#kind-}" != "$context" ]; then
    need kind
    need docker
    : "${LOAD_IMAGE:=kind load image-archive --name ${context#kind-}}"
    gateway=$(docker network inspect kind --format '{{ range .IPAM.Config }}{{ println .Gateway }}{{ end }}' | grep -m 1 '^[0-9.]*$')
    : "${LISTEN:=$gateway:4566}" "${ENDPOINT:=http://$gateway:4566}"
fi
[ -n "${LOAD_IMAGE:-}" ] || fail "LOAD_IMAGE: how do the nodes of $context get an image? Only kind is known; name a command that takes an archive"
[ -n "${ENDPOINT:-}" ] || fail "ENDPOINT: how do pods of $context reach this machine? Name the URL, and what listens there in LISTEN (127.0.0.1:4566)"

export IMAGE=localhost/encrypted-queue-operator:test
tools/image.sh
# Words of the command are its arguments.
# shellcheck disable=SC2086
with_progress "giving the image to the nodes" $LOAD_IMAGE target/image/image.tar
exec cargo test --locked --test cluster -- --image "$IMAGE" --listen "${LISTEN:-127.0.0.1:4566}" --endpoint "$ENDPOINT" "$@"
