#!/usr/bin/env bash
# Runs libFuzzer on every parser of foreign input, one after the other: tests/fuzz.sh SECONDS_EACH [TARGET...]
#
# On the stable toolchain and without a sanitizer. What breaks a parser is left in fuzz/artifacts; add it to fuzz/seeds.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:?how many seconds for each target}
shift

export PATH="$PWD/target/fuzz-tools/bin:$PATH"
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root target/fuzz-tools cargo-fuzz

fuzz() { cargo fuzz "$1" --fuzz-dir fuzz --dev -s none "${@:2}"; }
[ $# -gt 0 ] || set -- $(cargo fuzz list --fuzz-dir fuzz)
fuzz build
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target"
    echo "$target: $seconds s"
    fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 -verbosity=0 -print_final_stats=1
done
