#!/usr/bin/env bash
# What the chart promises, without a cluster. Arguments go on to pytest, which runs in this folder. PROGRAMS=DIR takes weightfs and
# weightfs-csi from there instead of building them.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${PROGRAMS:-}" ]; then
    cargo build --quiet -p weightfs -p weightfs-csi
    PROGRAMS=${CARGO_TARGET_DIR:-target}/debug
fi
PROGRAMS=$(realpath "$PROGRAMS")
export PROGRAMS
python=$PWD/target/venv/chart/bin/python
cd tests/chart
exec "$python" -m pytest -q "$@"
