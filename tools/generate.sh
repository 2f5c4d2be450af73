#!/usr/bin/env bash
# Writes the generated files of the repository anew. --check only compares, and fails when one is stale.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

# Every directory here is generated as a whole: what the generator does not write does not belong in it.
generated=(crds)

generate_into() {
    cargo run --quiet --bin encrypted-queue -- crds --output-dir "$1/crds"
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
