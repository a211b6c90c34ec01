# A Kubernetes of one node (tests/kubernetes), built from source by Go: the same versions on every machine. What runs
# containers below it, runc and the plugins of their network, are the distribution's.

readonly KUBERNETES=1.36.3 CONTAINERD=v2.3.7
readonly KUBERNETES_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)

require_kubernetes() {
    local folder=target/tools/kubernetes wanted="kubernetes $KUBERNETES containerd $CONTAINERD"
    [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && return
    say "Kubernetes $KUBERNETES and containerd $CONTAINERD (up to half an hour, once)"
    rm -rf "$folder"
    mkdir -p "$folder"
    build_cluster "$PWD/$folder" >target/setup-kubernetes.log 2>&1 || {
        tail -n 15 target/setup-kubernetes.log >&2
        fail "Kubernetes could not be built (is there a network?). The whole output is in target/setup-kubernetes.log."
    }
    # Compiled packages and sources take gigabytes, and nothing else is built of them.
    rm -rf target/kubernetes-build
    # Last, so that a run that was interrupted is done again.
    echo "$wanted" >"$folder/.installed"
}

# In a subshell, so that Go's variables end with it; `&&`, since `set -e` does not hold on the left of `||`.
build_cluster() (
    local programs=$1 go
    go=$(find_go) || go=$(fetch_go)
    mkdir -p target/kubernetes-build/cluster && cd target/kubernetes-build/cluster || return 1
    export GOMODCACHE=$PWD/../modules GOCACHE=$PWD/../compiled CGO_ENABLED=0 GOBIN=$programs
    export GOFLAGS="-modcacherw -trimpath -mod=mod" GOTOOLCHAIN=auto
    write_module &&
        "$go" build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$KUBERNETES" -o "$programs/" \
            "${KUBERNETES_PROGRAMS[@]/#/k8s.io/kubernetes/cmd/}" &&
        "$go" build -ldflags "-s -w" -o "$programs/etcd" go.etcd.io/etcd/server/v3 &&
        "$go" install -ldflags "-s -w" -tags no_btrfs,no_devmapper,no_zfs \
            github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}@$CONTAINERD
)

# Kubernetes is no module that others may require: it takes its own parts from folders beside it. So a module of ours says
# where they are published, under the version that belongs to Kubernetes'.
write_module() {
    local sources
    sources=$("$go" mod download -json "k8s.io/kubernetes@v$KUBERNETES" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') &&
        {
            printf 'module cluster\n\nrequire k8s.io/kubernetes v%s\n\n' "$KUBERNETES"
            sed -n "/^go /p; s|^\t\(k8s.io/[a-z-]*\) => ./staging/.*|replace \1 => \1 v0.${KUBERNETES#*.}|p" "$sources/go.mod"
        } >go.mod &&
        cp "$sources/go.sum" go.sum && chmod u+w go.sum
}
