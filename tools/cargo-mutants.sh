#!/usr/bin/env bash
# cargo-mutants.sh [PATTERN…]: judges the mutants that cargo-mutants knows for src/policy and src/plan, or for files like these, by the tests that need no
# server. They are tried in a crate of the pure modules alone, made anew below target/mutants, where the results are as well: see mutants.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

core=target/mutants/core
# Outcomes estimate costs, which tells its tables as the others do.
modules=(api cost desired explain names outcome plan policy preview)
# Of the tests' modules all but these: one reads the whole of src/, one tries the tests themselves, the others are about what is outside these modules.
left_out='purity|mutants|adopted|least_privilege'
dependencies=' comfy-table hex jiff k8s-openapi kube schemars serde serde_json sha2 thiserror '
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
name = "policies"
path = "tests/policies.rs"

[[test]]
name = "pure"
path = "tests/pure.rs"

[workspace]
members = [".", "tests/support"]
resolver = "3"

[profile.dev]
debug = false
opt-level = 1
END
    printf '[profile.dev.package.%s]\nopt-level = 2\n' iam-rs proptest rand regex-automata serde_json sha2
}

# Which mutant runs.
switch() {
    cat <<'END'
pub fn mutant() -> u32 {
    static MUTANT: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| std::env::var("MUTANT").map_or(0, |number| number.parse().unwrap()));
    *MUTANT
}
END
}

# The first of a program's tests: a failure ends it, where otherwise all others would be run first.
first_failure() {
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
END
}

# suite NAME…: all tests of these folders in one program.
suite() {
    local name module path
    first_failure
    for name in "$@"; do
        for module in $(sed -n 's/^mod \(.*\);$/\1/p' "tests/$name/main.rs" | grep -vxE "$left_out"); do
            path=$name/$module.rs
            [ -f "tests/$path" ] || path=$name/$module/mod.rs
            printf '#[path = "%s"]\nmod %s;\n' "$path" "$module"
        done
    done
}

assemble() {
    local file
    while read -r file; do
        put "$file" <"$file"
    done < <(
        find src -name '*.rs' -o -path 'src/cost/*.json' | grep -E "^src/($(IFS='|' && echo "${modules[*]}"))(/|\.rs)" |
            grep -vE '^src/(cost|explain|preview)/tests'
        find tests/pure tests/golden/policies tests/proof tests/support/src/judge/{condition,evaluator}.rs tests/golden/*.rs -type f
    )
    # Gone here, gone there.
    find $core/src $core/tests -type f | sed "s,^$core/,," | grep -vxE 'src/lib.rs|tests/(policies|pure).rs|tests/support/(Cargo.toml|src/lib.rs)' |
        while read -r file; do [ -f "$file" ] || rm "$core/$file"; done
    { printf 'pub mod %s;\n' "${modules[@]}" && switch && echo '#[cfg(test)]' && first_failure; } | put src/lib.rs
    # These are not judged, and their tests read manifests as commands do.
    for file in src/{cost/tests,explain/tests/mod,preview/tests}.rs; do put "$file" </dev/null; done
    suite pure | put tests/pure.rs
    { suite proof && printf '#[path = "golden/main.rs"]\nmod golden;\n#[allow(dead_code)]\n#[path = "pure/declare.rs"]\nmod declare;\n'; } |
        put tests/policies.rs
    root_manifest | put Cargo.toml
    put Cargo.lock <Cargo.lock
    manifest tests/support/Cargo.toml ' serde_json ' | put tests/support/Cargo.toml
    echo 'pub mod judge { mod condition; pub mod evaluator; pub use evaluator::{Caller, Evidence, Owner, Request, Service, Verdict}; }' |
        put tests/support/src/lib.rs
}

program=$(cargo_tool cargo-mutants 27.1.0)
assemble
[ $# -gt 0 ] || set -- 'src/policy/*.rs' 'src/plan/*.rs'
"$program" mutants --list --json --dir $core "${@/#/--file=}" | nice python3 tools/mutants.py $core target/mutants
