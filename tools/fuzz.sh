#!/usr/bin/env bash
# Fuzzes each target of fuzz/ for a while, with libFuzzer and a stable compiler: coverage is measured, without a sanitizer, since unsafe code is
# forbidden here. What was found stays in fuzz/artifacts/, what was learnt in fuzz/corpus/. `cargo fuzz` works on the same folders.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"

seconds=${1:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# The host's name keeps build scripts free of these flags.
RUSTFLAGS=$coverage cargo build --release --locked --target "$host"

# Where to start from: every policy that was reviewed.
seeds=target/seeds
mkdir -p "$seeds"
while read -r policy; do
    cp "$policy" "$seeds/$(tr / - <<<"${policy#../tests/golden/policies/}")"
done < <(find ../tests/golden/policies -name '*.json')

for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    mkdir -p "corpus/$name" "artifacts/$name"
    printf '==> %s, %s s\n' "$name" "$seconds"
    "target/$host/release/$name" "corpus/$name" "$seeds" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="artifacts/$name/" -print_final_stats=1 2>&1 |
        grep --line-buffered -E 'panicked|ERROR|SUMMARY|assertion|Test unit|stat::number_of_executed_units|stat::average_exec_per_sec|^Done|INITED' ||
        { printf '==> %s: a finding, see fuzz/artifacts/%s\n' "$name" "$name"; exit 1; }
    # The pipe hides the exit status; a finding leaves a file.
    if [[ -n $(ls -A "artifacts/$name") ]]; then
        printf '==> %s: a finding, see fuzz/artifacts/%s\n' "$name" "$name"
        exit 1
    fi
done
