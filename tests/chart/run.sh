#!/usr/bin/env bash
# What the chart promises, without a cluster. Arguments go on to pytest. PROGRAMS=DIR takes weightfs and weightfs-csi from there.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${PROGRAMS:-}" ]; then
    cargo build --quiet -p weightfs -p weightfs-csi
    PROGRAMS=${CARGO_TARGET_DIR:-target}/debug
fi
export PROGRAMS
exec target/venv/chart/bin/python -m pytest -c tests/chart/pytest.ini -q "${@:-tests/chart}"
