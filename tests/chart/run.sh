#!/usr/bin/env bash
# What the chart promises, without a cluster. Arguments go on to pytest, which runs in this folder. PROGRAMS=DIR takes weightfs and
# weightfs-csi from there instead of building them.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${PROGRAMS:-}" ]; then
    # As `cargo test --workspace` builds them, so that nothing is built twice.
    cargo build --quiet --workspace --bins
    PROGRAMS=${CARGO_TARGET_DIR:-target}/debug
fi
PROGRAMS=$(realpath "$PROGRAMS")
export PROGRAMS
python=$PWD/target/venv/chart/bin/python
cd tests/chart
exec "$python" -m pytest -q "$@"
