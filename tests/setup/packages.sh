# Distribution packages: what is missing is found by what it would bring, and installed by apt-get where we may.

# Prints the Debian packages that are missing.
missing_packages() {
    command -v fusermount3 >/dev/null || echo fuse3
    command -v cc >/dev/null || echo gcc
    # A compiler may be there without the C library's headers.
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    command -v c++ >/dev/null || echo g++
    command -v setpriv >/dev/null || echo util-linux
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    [ "$1" = build ] || missing_python_packages
}

missing_python_packages() {
    if ! command -v "${PYTHON:-python3}" >/dev/null; then
        echo python3
        echo python3-venv
    elif ! "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null; then
        # Debian keeps these two modules in a package of their own.
        echo python3-venv
    fi
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
