# The Rust toolchain, and the clients that are Rust programs of their own (tests/clients/rust).

require_rust() {
    command -v cargo >/dev/null ||
        fail "cargo is missing: install rustup; it then brings the version that rust-toolchain.toml names"
    local wanted
    wanted=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
    # Under rustup this also installs the toolchain where it is missing.
    local found
    found=$(rustc --version 2>&1) || fail "rustc does not run: $found"
    case $found in
    "rustc $wanted"*) ;;
    *) fail "$found is not the version that rust-toolchain.toml names ($wanted); install rustup, or that version" ;;
    esac
}

# Builds one of the programs of tests/clients/rust. They share the target folder, and so whatever weightfs and they both
# depend on. Cargo itself knows when there is nothing to do.
require_rust_client() {
    [ -x "target/debug/$1" ] || say "building the client '$1' (a few minutes, once)"
    cargo build --quiet --locked --manifest-path tests/clients/rust/Cargo.toml --target-dir target --package "$1"
}
