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
    rustup component list --installed | grep -q ^llvm-tools || rustup --quiet component add llvm-tools ||
        fail "the compiler's component llvm-tools is missing, and rustup could not bring it (is there a network?)"
    require_cargo_tool cargo-llvm-cov 0.9.1 cargo-llvm-cov
}

# ModelExpress's own command line, as it is published.
require_modelexpress_cli() {
    require_cargo_tool modelexpress-client 0.7.0 modelexpress-cli --debug --no-default-features --features tls-rustls
}

# Installs a package of the crate registry, once, to target/tools: NAME VERSION PROGRAM OPTIONS...
require_cargo_tool() {
    local name=$1 version=$2 program=$3
    [ -x "target/tools/bin/$program" ] && grep -q "^\"$name $version " target/tools/.crates.toml && return
    say "building $name $version (a few minutes, once)"
    cargo install --quiet --locked --root target/tools --target-dir target/tools/build "${@:4}" "$name@$version" ||
        fail "cargo could not install $name (is there a network?)"
    rm -rf target/tools/build
}

# Builds one of the programs of tests/clients/rust. They share the target folder, and so whatever weightfs and they both
# depend on. Cargo itself knows when there is nothing to do.
require_rust_client() {
    [ -x "target/debug/$1" ] || say "building the client '$1' (a few minutes, once)"
    cargo build --quiet --locked --manifest-path tests/clients/rust/Cargo.toml --target-dir target --package "$1"
}
