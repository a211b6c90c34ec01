#!/usr/bin/env bash
# Compares weightfs with what one would do without it, on this machine. See docs/BENCHMARKS.md.
#   tests/bench/run.sh              every case
#   tests/bench/run.sh warm stat    cases by name, or by what their names begin with
set -euo pipefail
cd "$(dirname "$0")/../.."

tests/setup.sh bench
echo "building weightfs" >&2
cargo build --quiet --release -p weightfs -p test-hub -p bench-probe
# Copies: a build beside a run does not change what is measured.
mkdir -p target/bench/bin
for program in weightfs test-hub bench-probe; do
    cp --remove-destination "${CARGO_TARGET_DIR:-target}/release/$program" target/bench/bin/
done
exec target/venv/main/bin/python tests/bench/bench.py "$@"
