//! Compiles the protocols of the control socket and of the network service without protoc.

use std::path::PathBuf;

use prost::Message;

/// What the network serves; reflection tells it by these names, of which others have some without the folder.
const SERVICE: [&str; 4] =
    ["model_express/health.proto", "model_express/api.proto", "model_express/model.proto", "model_express/p2p.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/api/proto");
    let control = protox::compile(["control.proto"], ["src/api/proto"])?;
    tonic_prost_build::configure().compile_fds(control)?;
    let service = protox::compile(SERVICE, ["src/api/proto"])?;
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("service.bin");
    std::fs::write(descriptors, service.encode_to_vec())?;
    // The bytes of a chunk are not copied again.
    tonic_prost_build::configure().bytes(".model_express.model.FileChunk").compile_fds(service)?;
    Ok(())
}
