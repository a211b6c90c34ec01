# Distribution packages: what is missing is found by what it would bring, and installed by apt-get where we may.

# Prints the Debian packages that are missing.
missing_packages() {
    command -v fusermount3 >/dev/null || echo fuse3
    command -v cc >/dev/null || echo gcc
    # A compiler may be there without the C library's headers.
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    command -v c++ >/dev/null || echo g++
    command -v fio >/dev/null || echo fio
    command -v setpriv >/dev/null || echo util-linux
    command -v systemctl >/dev/null || echo systemd
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    case $1 in
    build | coverage) ;;
    csi) missing_go_packages ;;
    chart) missing_python_packages; missing_go_packages ;;
    image) missing_image_packages ;;
    kubernetes) missing_python_packages; missing_image_packages; missing_kubernetes_packages ;;
    bench) missing_python_packages; missing_bench_packages ;;
    clients) missing_python_packages; missing_clients_packages ;;
    full) missing_python_packages; missing_clients_packages; missing_full_packages ;;
    *) missing_python_packages ;;
    esac
}

missing_go_packages() {
    find_any_go >/dev/null || echo golang-go
}

missing_clients_packages() {
    /usr/bin/python3 -c 'import ensurepip, torch' 2>/dev/null && return
    # They belong together: one brings the other's Python.
    echo python3-venv
    echo python3-torch
}

missing_full_packages() {
    missing_image_packages
    # ModelExpress's client is built with it.
    command -v protoc >/dev/null || echo protobuf-compiler
}

missing_image_packages() {
    command -v musl-gcc >/dev/null || echo musl-tools
    command -v readelf >/dev/null || echo binutils
    docker info >/dev/null 2>&1 || command -v buildah >/dev/null || echo buildah
}

missing_kubernetes_packages() {
    missing_go_packages
    command -v runc >/dev/null || echo runc
    [ -x /usr/lib/cni/bridge ] || echo containernetworking-plugins
    command -v ip >/dev/null || echo iproute2
    command -v openssl >/dev/null || echo openssl
}

missing_bench_packages() {
    # Servers lie outside of an ordinary user's path.
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null || echo nginx-light
    command -v rclone >/dev/null || echo rclone
}

missing_python_packages() {
    find_python >/dev/null && return
    # Debian keeps what makes environments in a package of its own.
    echo python3
    echo python3-venv
}

require_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$1")
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        install_packages "${missing[@]}"
        return
    fi
    fail "these packages are missing (by their Debian names): ${missing[*]}
       As root: apt-get install ${missing[*]}
       Other distributions name them alike; install them and run this again."
}

install_packages() {
    say "installing $*"
    local log=target/setup-apt.log
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "apt-get could not install: $*. Its whole output is in $log."
    fi
}
