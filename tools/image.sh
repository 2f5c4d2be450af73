#!/usr/bin/env bash
# Builds the container image without a daemon, into target/image: oci/ is an OCI layout, image.tar the archive that `ctr images import`, `kind load
# image-archive`, `podman load` and `skopeo copy oci-archive:` take. Prints its digest as the last line.
#
# usage: image.sh [--check] [ARCHITECTURE…]      amd64, arm64; default: this machine's
#
# The program is linked statically against glibc: its libc then resolves names as every other program's does, which musl's would not (search domains,
# TCP for long answers). Another architecture takes its Rust target and Debian's cross compiler (gcc-aarch64-linux-gnu or gcc-x86-64-linux-gnu).
# --check builds twice, from nothing and in two folders, and compares.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

need python3
check=
if [ "${1:-}" = --check ]; then
    check=1
    shift
fi
own=$(uname -m | sed -e s/x86_64/amd64/ -e s/aarch64/arm64/)
[ $# -gt 0 ] || set -- "$own"
name=${IMAGE:-ghcr.io/encrypted-queue-operator/encrypted-queue-operator:$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' charts/encrypted-queue-operator/Chart.yaml)}
certificates=${CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}
[ -s "$certificates" ] || fail "$certificates is needed for the image: install ca-certificates, or name another file in CERTIFICATES"

# program FOLDER ARCHITECTURE: builds it below FOLDER, and prints where it is. No path of this machine gets into it.
program() {
    local machine target toolchain=()
    machine=$(echo "$2" | sed -e s/amd64/x86_64/ -e s/arm64/aarch64/)
    target=$machine-unknown-linux-gnu
    if [ "$2" != "$own" ]; then
        need "$machine-linux-gnu-gcc" "it links for $2"
        toolchain=("CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=$machine-linux-gnu-gcc" "CC_${target//-/_}=$machine-linux-gnu-gcc")
    fi
    # Nodes on arm64 may have pages of 64 KiB.
    [ "$2" != arm64 ] || toolchain+=(JEMALLOC_SYS_WITH_LG_PAGE=16)
    local remap="--remap-path-prefix=$PWD=/source --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$1=/target"
    with_progress "building the operator for $2" env "${toolchain[@]}" \
        RUSTFLAGS="-C target-feature=+crt-static $remap" CFLAGS="-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo -ffile-prefix-map=$1=/target" \
        nice cargo build --release --locked --bin encrypted-queue --target "$target" --target-dir "$1"
    echo "$1/$target/release/encrypted-queue"
}

# image TARGET-FOLDER OUT ARCHITECTURE…
image() {
    local folder=$1 out=$2 architecture programs=()
    shift 2
    for architecture in "$@"; do programs+=("$architecture=$(program "$folder" "$architecture")"); done
    rm -rf "$out"
    mkdir -p "$out"
    python3 tools/image/layout.py "$out" "$name" "$certificates" "${programs[@]}"
}

digest=$(image "$PWD/target/image-build" target/image "$@" | tail -n 1)
if [ -n "$check" ]; then
    again=$(mktemp -d)
    trap 'rm -rf "$again"' EXIT
    second=$(image "$again/build" "$again/image" "$@" | tail -n 1)
    [ "$digest" = "$second" ] || fail "two builds differ: $digest and $second"
    log "two builds, one digest"
fi
log "$name, for $*: target/image/image.tar"
echo "$digest"
