#!/usr/bin/env bash
# Runs cargo-mutants (configuration: .cargo/mutants.toml) on a crate of the pure modules and of the tests that judge them without a server, made anew
# below target/mutants: without the SDKs and the clients of the whole, a mutant takes seconds. The results are in target/mutants/mutants.out.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

core=target/mutants/core
modules=(api desired names outcome plan policy)
# Of the tests' modules all but these: one reads the whole of src/, the other tries the tests themselves.
left_out='purity|mutants'
dependencies=' hex jiff k8s-openapi kube schemars serde serde_json sha2 thiserror '
test_dependencies=' iam-rs proptest regex similar test-support '

# put FILE: what is read becomes the crate's file, unless it is that already: what did not change is not compiled again.
put() {
    local text
    mkdir -p "$(dirname "$core/$1")"
    text=$(cat; echo .)
    [ -f "$core/$1" ] && [ "$(cat "$core/$1"; echo .)" = "$text" ] || printf %s "${text%.}" >"$core/$1"
}

# The sections of a manifest that name the package and what it depends on, without the dependencies that are not needed.
manifest() {
    awk -v dependencies="$2" -v test_dependencies="$test_dependencies" '
        /^\[/ { section = $1; kept = section ~ /^\[(workspace\.package|workspace\.dependencies|package|lib|dependencies|dev-dependencies)\]$/ }
        kept && /^[a-z]/ && section ~ /dependencies/ {
            name = $1; sub(/[.].*/, "", name)
            if (!index(section == "[dev-dependencies]" ? test_dependencies : dependencies, " " name " ")) next
        }
        kept && !/^(autobins|#)/' "$1" | sed '/^kube = /s/features = \[.*\]/features = ["derive"]/'
}

root_manifest() {
    manifest Cargo.toml "$dependencies" | sed 's/^\[lib\]$/&\ndoctest = false/; s/^\[package\]$/&\nautotests = false/'
    cat <<'END'
[[test]]
name = "core"
path = "tests/core.rs"

[workspace]
members = [".", "tests/support"]
resolver = "3"

[profile.dev]
debug = false
END
    printf '[profile.dev.package.%s]\nopt-level = 2\n' iam-rs proptest rand regex-automata serde_json sha2
}

# All tests but the units' in one program, which ends at the first failure: cargo test goes on to the end of each.
tests() {
    local suite module path
    cat <<'END'
mod a_failure {
    #[test]
    fn ends_the_run() {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            told(panic);
            std::process::exit(101);
        }));
    }
}
#[path = "golden/main.rs"]
mod golden;
END
    for suite in pure proof; do
        for module in $(sed -n 's/^mod \(.*\);$/\1/p' tests/$suite/main.rs | grep -vxE "$left_out"); do
            path=$suite/$module.rs
            [ -f "tests/$path" ] || path=$suite/$module/mod.rs
            printf '#[path = "%s"]\nmod %s;\n' "$path" "$module"
        done
    done
}

assemble() {
    local file
    while read -r file; do
        put "$file" <"$file"
    done < <(
        find src -name '*.rs' | grep -E "^src/($(IFS='|' && echo "${modules[*]}"))(/|\.rs)"
        find tests/pure tests/golden/policies tests/proof tests/support/src/judge/{condition,evaluator}.rs tests/golden/*.rs -type f
    )
    # Gone here, gone there.
    find $core/src $core/tests -type f | sed "s,^$core/,," | grep -vxE 'src/lib.rs|tests/core.rs|tests/support/(Cargo.toml|src/lib.rs)' |
        while read -r file; do [ -f "$file" ] || rm "$core/$file"; done
    printf 'pub mod %s;\n' "${modules[@]}" | put src/lib.rs
    tests | put tests/core.rs
    root_manifest | put Cargo.toml
    put Cargo.lock <Cargo.lock
    manifest tests/support/Cargo.toml ' serde_json ' | put tests/support/Cargo.toml
    echo 'pub mod judge { mod condition; pub mod evaluator; pub use evaluator::{Caller, Evidence, Owner, Request, Service, Verdict}; }' |
        put tests/support/src/lib.rs
}

program=$(cargo_tool cargo-mutants 27.1.0)
assemble
# A mutant that a hundred cases of each property do not notice is missed.
export PROPTEST_CASES=${PROPTEST_CASES:-100} JUDGED_DECLARATIONS=${JUDGED_DECLARATIONS:-150} PROPTEST_MAX_SHRINK_ITERS=0
exec nice "$program" mutants --dir $core --config .cargo/mutants.toml --output target/mutants "$@"
