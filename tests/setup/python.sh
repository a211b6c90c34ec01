# One Python environment for each set of clients, below target/venv, made from tests/clients/requirements/NAME.txt.

# Makes the environment NAME unless it already holds exactly these requirements for this Python.
require_venv() {
    local name=$1 python=${PYTHON:-python3}
    local requirements=tests/clients/requirements/$name.txt folder=target/venv/$name
    check_python "$python"
    local wanted
    wanted="$("$python" -V) $(sha256sum <"$requirements")"
    if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && "$folder/bin/python" -V >/dev/null 2>&1; then
        return
    fi
    say "Python environment '$name'"
    rm -rf "$folder"
    mkdir -p target/venv
    "$python" -m venv "$folder" || fail "$python -m venv failed; on Debian it needs the package python3-venv"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
        fail "pip could not install $requirements (is there a network?)"
    # Last, so that a run that was interrupted is done again.
    echo "$wanted" >"$folder/.installed"
}

check_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "$("$1" -V) is too old for the clients: 3.10 or newer is needed (name one by PYTHON=...)"
}
