#!/usr/bin/env bash
# Runs the commands of the book (fences `sh,test` and `yaml,test`) against what `make demo KEEP=1` leaves, and takes that down.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

scratch=$(mktemp -d)
keeper=
finish() {
    [ -z "$keeper" ] || kill -TERM "$keeper" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

KEEP=1 tools/demo.sh | tee "$scratch/demo"
keeper=$(sed -n 's/^to stop:  *kill //p' "$scratch/demo")
[ -n "$keeper" ] || fail "the demo did not say how to stop it"
grep '^export ' "$scratch/demo" >"$scratch/environment"
python3 tools/docs-commands.py --environment "$scratch/environment" "$@"
