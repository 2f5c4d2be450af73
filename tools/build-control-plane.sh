#!/usr/bin/env bash
# Provides kube-apiserver and etcd for the tests and the demo, and prints the directory that holds them as the last line of standard output.
#
# KUBEBUILDER_ASSETS is used as it is when it has both. Otherwise both are built from their Go modules, once, into the cache.
# --directory only prints where they are or would be. KUBERNETES_MODULE names another folder of tools/control-plane, whose minor is built then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./common.sh

if [ -x "${KUBEBUILDER_ASSETS:-}/kube-apiserver" ] && [ -x "${KUBEBUILDER_ASSETS:-}/etcd" ]; then
    echo "$KUBEBUILDER_ASSETS"
    exit
fi

version_of() { awk -v module="$2" '{ sub(/^require /, ""); if ($1 == module) { print $2; exit } }' "control-plane/$1/go.mod"; }

module=${KUBERNETES_MODULE:-kubernetes}
kubernetes=$(version_of "$module" k8s.io/kubernetes)
etcd=$(version_of etcd go.etcd.io/etcd/server/v3)
assets=$cache_root/control-plane/kubernetes-$kubernetes-etcd-$etcd
if [ "${1:-}" = --directory ]; then
    echo "$assets"
    exit
fi

ready() { [ -x "$assets/kube-apiserver" ] && [ -x "$assets/etcd" ]; }

# build NAME VERSION MODULE-DIRECTORY PACKAGE LINKER-FLAGS
build() {
    [ -x "$assets/$1" ] && return
    with_progress "building $1 $2" \
        env CGO_ENABLED=0 GOWORK=off nice go -C "control-plane/$3" build -v -trimpath -ldflags "-s -w $5" -o "$unfinished/$1" "$4"
    mv "$unfinished/$1" "$assets/$1"
}

build_both() {
    mkdir -p "$assets"
    unfinished=$(mktemp -d "$assets/.unfinished.XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    log "kube-apiserver and etcd are built once, into $assets (about five minutes on two cores)"
    build etcd "$etcd" etcd go.etcd.io/etcd/server/v3 ""
    build kube-apiserver "$kubernetes" "$module" k8s.io/kubernetes/cmd/kube-apiserver \
        "-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitTreeState=clean"
}

if ! ready; then
    need go "building the control plane takes Go 1.26 or newer; or set KUBEBUILDER_ASSETS to a directory with kube-apiserver and etcd"
    lock control-plane
    ready || build_both
fi
echo "$assets"
