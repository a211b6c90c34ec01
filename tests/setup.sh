#!/usr/bin/env bash
# Installs what is missing, and nothing else; quick when nothing is. Everything but distribution packages goes below target/.
#
#   tests/setup.sh build       what a build of weightfs and its own tests need
#   tests/setup.sh demo        also the model, the Python client and the engine of the demo
#   tests/setup.sh bench       also the servers and the clients that the benchmark compares with
#   tests/setup.sh image       what the container image is built with
#   tests/setup.sh coverage    also what measures which lines tests run
#   tests/setup.sh csi         also csi-sanity, the specification's own tests of CSI drivers
#   tests/setup.sh chart       also helm and the schemas of Kubernetes
#   tests/setup.sh kubernetes  also a Kubernetes and helm, and what the demo and the image need
#   tests/setup.sh clients     also the old clients and the hf-hub crate's program
#   tests/setup.sh full        also ModelExpress's command line
set -euo pipefail

cd "$(dirname "$0")/.."
. tests/setup/say.sh
. tests/setup/packages.sh
. tests/setup/python.sh
. tests/setup/model.sh
. tests/setup/rust.sh
. tests/setup/go.sh
. tests/setup/csi.sh
. tests/setup/helm.sh
. tests/setup/kubernetes.sh

what=${1:-build}
case $what in
build | image | coverage | bench | csi | chart | kubernetes | demo | clients | full) ;;
*) fail "what is '$what'? Use build, image, coverage, bench, csi, chart, kubernetes, demo, clients or full." ;;
esac

mkdir -p target
# Two runs at once (a demo beside a test) would install into the same folders.
exec 9>target/.setup.lock
flock --wait 1800 9 || fail "another set-up holds target/.setup.lock for half an hour; is it stuck?"

require_packages "$what"
require_rust
case $what in
build) exit 0 ;;
image)
    require_rust_target x86_64-unknown-linux-musl
    exit 0
    ;;
coverage)
    require_coverage
    exit 0
    ;;
csi)
    require_csi_sanity
    exit 0
    ;;
esac

require_python
if [ "$what" = chart ]; then
    require_helm
    require_venv chart
    exit 0
fi
require_venv main
[ "$what" = bench ] && exit 0

require_model
if [ "$what" = kubernetes ]; then
    require_rust_target x86_64-unknown-linux-musl
    require_kubernetes
    require_helm
    exit 0
fi
require_rust_client embed
[ "$what" = demo ] && exit 0

for version in 0.36.0 1.0.0 1.24.0; do
    require_venv "hub-$version"
done
require_venv modelexpress
require_venv dynamo
require_venv prometheus
require_venv s3
require_formats_venv
require_rust_client hf-hub-client
[ "$what" = clients ] && exit 0

require_modelexpress_cli
