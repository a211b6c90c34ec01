#!/usr/bin/env bash
# Mounts, and lets real clients load and run a real model through the mount.
#   tests/demo/run.sh                      the model of a wheel, served by the Hub stand-in on loopback
#   MODEL=org/name tests/demo/run.sh       a BERT sentence-embedding model of the real Hub
set -euo pipefail
cd "$(dirname "$0")/../.."

tests/setup.sh demo
echo "building weightfs" >&2
cargo build --quiet --release -p weightfs -p test-hub
exec target/venv/main/bin/python tests/demo/demo.py
