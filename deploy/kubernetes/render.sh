#!/usr/bin/env bash
# Renders the plain manifests from the chart; `make chart` calls this, and a test fails when they are stale. Into this folder, or into
# the one that is named.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=${1:-deploy/kubernetes}

# What helm alone may say of an object is left out: who manages it, and of which chart and file it is.
render() {
    target/tools/helm template weightfs deploy/helm/weightfs --namespace weightfs --kube-version 1.26.0 --skip-tests "$@" |
        sed '/^# Source: /d; /^ *app.kubernetes.io\/managed-by: /d; /^ *helm.sh\/chart: /d; /^$/d'
}

{
    cat <<'END'
# Volumes for pods: holder, daemon and CSI driver on every node. Rendered from deploy/helm/weightfs by `make chart`.
#   kubectl apply --filename deploy/kubernetes/weightfs.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: weightfs
  labels:
    # Mounts that pods see need privileged pods.
    pod-security.kubernetes.io/enforce: privileged
END
    render
} >"$out/weightfs.yaml"

{
    cat <<'END'
# The shared tier, for the pods of all namespaces. Rendered from deploy/helm/weightfs by `make chart`.
#   kubectl create namespace weightfs      # if weightfs.yaml has not made it
#   kubectl apply --filename deploy/kubernetes/server.yaml
END
    render --set node.enabled=false --set server.enabled=true --set server.scope=global
} >"$out/server.yaml"
