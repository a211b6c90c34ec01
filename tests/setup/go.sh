# Go, and the programs that are built from source by it: by the Go of the machine or one that this brings.

readonly GO=go1.24.7

# Prints a Go, however old.
find_any_go() {
    command -v go || command -v /usr/local/go/bin/go
}

# Prints a Go that may build it: 1.21 and newer bring the toolchain that a module asks for.
find_go() {
    local go minor
    go=$(find_any_go)
    minor=$("$go" env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 21 ] && echo "$go"
}

# An older Go, as distributions have it, brings a newer one as a module. It does not know what in it is a program.
fetch_go() {
    local root machine modules=$PWD/target/go
    machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
    root=$modules/golang.org/toolchain@v0.0.1-$GO.linux-$machine
    if [ ! -x "$root/bin/go" ]; then
        (cd /tmp && GOMODCACHE=$modules GOFLAGS=-modcacherw \
            "$(find_any_go)" mod download "golang.org/toolchain@${root##*@}") >&2 ||
            fail "$GO could not be downloaded (is there a network?)"
        find "$root/bin" "$root/pkg/tool" -type f -exec chmod +x {} +
    fi
    echo "$root/bin/go"
}

# Builds a program into target/tools, once: NAME VERSION PACKAGE.
require_go_tool() {
    local name=$1 version=$2 package=$3 go
    local program=target/tools/$name
    [ -x "$program" ] && [ "$(cat "$program.version" 2>/dev/null)" = "$version" ] && return
    say "building $name $version (a few minutes, once)"
    go=$(find_go) || go=$(fetch_go)
    GOBIN=$PWD/target/tools CGO_ENABLED=0 GOFLAGS=-trimpath "$go" install -ldflags "-s -w" "$package@$version" ||
        fail "$name could not be built (is there a network?)"
    # Last, so that a run that was interrupted is done again.
    echo "$version" >"$program.version"
}
