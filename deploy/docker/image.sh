#!/usr/bin/env bash
# Builds the container image, with docker where it runs, else with buildah; `make image` calls this. No network is needed but
# what the build of the programs itself needs.
#
#   PROGRAMS=DIR   takes weightfs, weightfs-csi and mount-weightfs from there instead of building them; they must be static
#   IMAGE=NAME     the image's name, weightfs:VERSION if not given
#
# buildah's image is written to target/image/weightfs.tar, which `docker load`, `podman load` and `ctr images import` take.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/say.sh

readonly TARGET=x86_64-unknown-linux-musl
readonly OUT=target/image ROOT=target/image/root
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
image=${IMAGE:-weightfs:$version}

build_programs() {
    tests/setup.sh image
    say "building the static programs (some minutes, once)"
    cargo build --locked --profile dist --target $TARGET --package weightfs --package weightfs-csi --bins
    PROGRAMS=${CARGO_TARGET_DIR:-target}/$TARGET/dist
}

# What is not static would not even start in an image that has nothing else; `ldd` says of both kinds what it is.
require_static() {
    ! readelf --program-headers "$1" | grep -q INTERP ||
        fail "$1 needs a loader and libraries, which the image has not; build it for $TARGET"
}

certificates() {
    local file
    for file in ${SSL_CERT_FILE:-} /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [ -s "$file" ]; then
            echo "$file"
            return
        fi
    done
    fail "no CA certificates here to put into the image (Debian's package is ca-certificates)"
}

assemble() {
    local certificates
    certificates=$(certificates)
    rm -rf "$ROOT"
    install -d "$ROOT"/{usr/bin,usr/sbin,etc/ssl/certs,etc/weightfs,proc,sys,dev}
    # Whatever user a platform chooses writes there.
    install -d -m 1777 "$ROOT"/{tmp,run,var/cache/weightfs}
    install -m 755 "$PROGRAMS/weightfs" "$ROOT/usr/bin/weightfs"
    install -m 755 "$PROGRAMS/weightfs-csi" "$ROOT/usr/bin/weightfs-csi"
    install -m 755 "$PROGRAMS/mount-weightfs" "$ROOT/usr/sbin/mount.weightfs"
    install -m 644 "$certificates" "$ROOT/etc/ssl/certs/ca-certificates.crt"
    printf '%s\n' root:x:0:0:root:/root:/usr/bin/weightfs weightfs:x:65532:65532::/var/cache/weightfs:/usr/bin/weightfs >"$ROOT/etc/passwd"
    printf '%s\n' root:x:0: weightfs:x:65532: >"$ROOT/etc/group"
    chmod 644 "$ROOT"/etc/{passwd,group}
}

build_image() {
    if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        docker build --quiet --tag "$image" --file deploy/docker/Dockerfile "$ROOT" >/dev/null
        say "docker has $image"
    elif command -v buildah >/dev/null; then
        # A store of its own, which needs no special file system and no rights beyond root's.
        local store=(--root "$PWD/$OUT/store" --runroot "$PWD/$OUT/run" --storage-driver vfs)
        rm -f "$OUT/weightfs.tar"
        buildah "${store[@]}" build --quiet --isolation chroot --format docker --tag "$image" \
            --file deploy/docker/Dockerfile "$ROOT" >/dev/null
        buildah "${store[@]}" push --quiet "$image" "docker-archive:$OUT/weightfs.tar:$image"
        say "$OUT/weightfs.tar has $image ($(du -h "$OUT/weightfs.tar" | cut -f1))"
    else
        fail "neither docker nor buildah runs here (Debian has the package buildah)"
    fi
}

[ -n "${PROGRAMS:-}" ] || build_programs
for program in weightfs weightfs-csi mount-weightfs; do
    [ -x "$PROGRAMS/$program" ] || fail "$PROGRAMS/$program is not there"
    require_static "$PROGRAMS/$program"
done
assemble
build_image
