#!/usr/bin/env bash
# Which lines of the program the tests run. Daemons that they start are counted too, but for those that are killed.
#   tests/coverage.sh              unit tests and those through a mount
#   tests/coverage.sh --lib        arguments go on to `cargo test`
set -euo pipefail
cd "$(dirname "$0")/.."

tests/setup.sh coverage
export PATH=$PWD/target/tools/bin:$PATH
cargo llvm-cov clean --workspace
cargo llvm-cov test --no-report -p weightfs -p mount-helper "$@"
cargo llvm-cov report --html --output-dir target/coverage
cargo llvm-cov report --summary-only --json --output-path target/coverage/summary.json
cargo llvm-cov report --summary-only | awk 'NR == 1 || /^TOTAL/'
echo "target/coverage/html/index.html shows every line" >&2
