#!/usr/bin/env bash
# Checks the workflows for GitHub, the project's own and those of the examples: by actionlint, and that they name actions by commit. With shellcheck on
# the PATH, actionlint has it read their scripts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

actionlint=$(go_tool actionlint "$(required_version actionlint github.com/rhysd/actionlint)" github.com/rhysd/actionlint/cmd/actionlint "")
mapfile -t workflows < <(find .github examples -path '*/.github/workflows/*.yaml' -o -path '.github/workflows/*.yaml' | sort)
[ "${#workflows[@]}" -ge 4 ] || fail "found only ${#workflows[@]} workflows"
"$actionlint" "${workflows[@]}"
echo "actionlint: ${#workflows[@]} workflows, nothing found"

# A tag can be moved, a commit cannot.
movable=$(grep -nE '^ *(- )?uses: ' "${workflows[@]}" | grep -vE 'uses: (\./|[^@ ]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$)' || true)
[ -z "$movable" ] || fail "actions that are not named by a commit, with the version as comment: $movable"
echo "actions: each is named by a commit"
