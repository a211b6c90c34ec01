# One Python environment for each set of clients, and one for the chart's tests, below target/venv, made from tests/clients/requirements/NAME.txt.

# Prints the Python to make environments of; fails where there is none.
find_python() {
    local python
    for python in ${PYTHON:-python3 /usr/bin/python3}; do
        if suits "$python"; then
            real_path "$python"
            return
        fi
    done
    return 1
}

# New enough for the clients, able to make environments, and within reach of an ordinary user: root's tests also run
# clients as one, who could not start a Python below /root.
suits() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || return 1
    [ "$(id -u)" -ne 0 ] && return
    # The shell in between executes it without root's capabilities, which setpriv would still have.
    setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '"$0" -c pass' "$(real_path "$1")" 2>/dev/null
}

real_path() {
    "$1" -c 'import os, sys; print(os.path.realpath(sys.executable))'
}

# Settles PYTHON for every environment of this run.
require_python() {
    PYTHON=$(find_python) || fail "no Python 3.10 or newer with venv is within reach (name one by PYTHON=...)"
}

# The distribution's PyTorch is for the distribution's own Python.
require_formats_venv() {
    local PYTHON=/usr/bin/python3
    require_venv formats --system-site-packages
}

# Makes the environment NAME unless it already holds exactly these requirements for this Python. What follows the name goes
# on to venv.
require_venv() {
    local name=$1
    shift
    local requirements=tests/clients/requirements/$name.txt folder=target/venv/$name
    local wanted
    # What such a file names is installed without what it says it needs.
    local alone=tests/clients/requirements/$name.alone.txt
    [ -e "$alone" ] || alone=/dev/null
    wanted="$PYTHON $("$PYTHON" -V) $(cat "$requirements" "$alone" | sha256sum)"
    if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && "$folder/bin/python" -V >/dev/null 2>&1; then
        return
    fi
    say "Python environment '$name'"
    rm -rf "$folder"
    mkdir -p target/venv
    "$PYTHON" -m venv "$@" "$folder" || fail "$PYTHON -m venv failed; on Debian it needs the package python3-venv"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
        fail "pip could not install $requirements (is there a network?)"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$alone" ||
        fail "pip could not install $alone (is there a network?)"
    # Last, so that a run that was interrupted is done again.
    echo "$wanted" >"$folder/.installed"
}
