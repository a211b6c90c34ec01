#!/usr/bin/env bash
# The scenarios of the real clients, against the binaries of this tree. Arguments go on to pytest, but for:
#   --full    also the scenarios that are too slow for every change
set -euo pipefail
cd "$(dirname "$0")/../.."

marks='not full'
if [ "${1:-}" = --full ]; then
    marks=''
    shift
fi
# As `cargo test --workspace` builds them, so that nothing is built twice.
cargo build --quiet --workspace --bins
exec target/venv/main/bin/python -m pytest -c tests/clients/pytest.ini -m "$marks" -q "${@:-tests/clients}"
