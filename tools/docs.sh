#!/usr/bin/env bash
# Writes the book's generated references anew, checks its links, and builds it into target/book with mdBook: that on the PATH when its version fits, else
# one installed once into the cache. --check changes nothing and fails when a reference is stale. --no-build leaves mdBook out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

check=() build=1
for argument in "$@"; do
    case $argument in
        --check) check=(--check) ;;
        --no-build) build= ;;
        *) fail "usage: tools/docs.sh [--check] [--no-build]" ;;
    esac
done

# mdbook VERSION: where that version is. It calls itself `mdbook v…`, which cargo_tool does not expect.
mdbook() {
    local version=$1 installation=$cache_root/mdbook/$1
    if [ "$(command mdbook --version 2>/dev/null)" = "mdbook v$version" ]; then
        type -P mdbook
        return
    fi
    [ -x "$installation/bin/mdbook" ] || lock mdbook
    [ -x "$installation/bin/mdbook" ] ||
        with_progress "installing mdbook $version (a few minutes, once)" nice cargo install --locked mdbook --version "$version" --root "$installation"
    echo "$installation/bin/mdbook"
}

python=$(dirname "$(tools/moto/setup.sh)")/python
cargo build --quiet --locked --bin encrypted-queue
target=$(cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')

"$python" tools/docs.py generate "${check[@]}" --program "$target/debug/encrypted-queue"
"$python" tools/docs.py links
[ -n "$build" ] || exit 0
program=$(mdbook 0.5.4)
"$python" tools/docs.py stage "$target/docs"
"$program" build "$target/docs" --dest-dir "$target/book"
log "the book: $target/book/index.html"
