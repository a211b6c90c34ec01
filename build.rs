//! Compiles the control protocol without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/api/proto");
    let files = protox::compile(["control.proto"], ["src/api/proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
