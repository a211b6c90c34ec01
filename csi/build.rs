//! Compiles the protocols without protoc: what the kubelet speaks, and what the daemon does.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=../src/api/proto/control.proto");
    let kubelet = protox::compile(["csi.proto", "registration.proto"], ["proto"])?;
    // The tests are a kubelet.
    tonic_prost_build::configure().compile_fds(kubelet)?;
    let daemon = protox::compile(["control.proto"], ["../src/api/proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(daemon)?;
    Ok(())
}
