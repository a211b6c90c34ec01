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

# The standard library for another target.
require_rust_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] && return
    command -v rustup >/dev/null || fail "the standard library for $1 is missing, and rustup, which would bring it"
    say "the standard library for $1"
    rustup --quiet target add "$1" || fail "rustup could not bring it (is there a network?)"
}

# cargo-llvm-cov below target/tools, and the compiler's own tools that it reads profiles with.
require_coverage() {
    local version=0.8.7
    command -v llvm-profdata >/dev/null || rustup component list --installed 2>/dev/null | grep -q llvm-tools ||
        rustup --quiet component add llvm-tools || fail "the component llvm-tools is missing; rustup brings it"
    require_cargo_tool cargo-llvm-cov "$version"
}

# Installs a program of the crate registry to target/tools/bin.
require_cargo_tool() {
    [ -x "target/tools/bin/$1" ] && grep -q "^\"$1 $2 " target/tools/.crates.toml && return
    say "building $1 $2 (once)"
    cargo install --quiet --locked --root target/tools --target-dir target/tools/build "$1@$2" ||
        fail "cargo could not install $1 (is there a network?)"
    rm -rf target/tools/build
}

# ModelExpress's own command line.
require_modelexpress_cli() {
    :
}

# Builds one of the programs of tests/clients/rust. They share the target folder, and so whatever weightfs and they both
# depend on. Cargo itself knows when there is nothing to do.
require_rust_client() {
    [ -x "target/debug/$1" ] || say "building the client '$1' (a few minutes, once)"
    cargo build --quiet --locked --manifest-path tests/clients/rust/Cargo.toml --target-dir target --package "$1"
}
