//! `hf-hub-client [--local-files-only] CACHE_DIR ORG/NAME FILE`: the hf-hub crate's two ways to get a model, through the
//! given cache directory at revision `main`; prints the path and the sha256 of the file, as each way found it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hf_hub::{HFClient, split_id};
use sha2::{Digest, Sha256};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let local_files_only = arguments.first().is_some_and(|first| first == "--local-files-only");
    if local_files_only {
        arguments.remove(0);
    }
    let [cache, model, file] = arguments.as_slice() else {
        bail!("usage: hf-hub-client [--local-files-only] CACHE_DIR ORG/NAME FILE");
    };
    let (owner, name) = split_id(model);
    let repo = HFClient::builder().cache_dir(PathBuf::from(cache)).build()?.model(owner, name);

    let downloaded = repo
        .download_file()
        .filename(file)
        .revision("main")
        .local_files_only(local_files_only)
        .send()
        .await
        .context("download_file")?;
    report("download_file", &downloaded)?;

    let snapshot = repo
        .snapshot_download()
        .revision("main")
        .local_files_only(local_files_only)
        .send()
        .await
        .context("snapshot_download")?;
    report("snapshot_download", &snapshot.join(file))
}

fn report(what: &str, path: &Path) -> Result<()> {
    let digest = sha256(path).with_context(|| format!("read {}", path.display()))?;
    println!("{what} {digest} {}", path.display());
    Ok(())
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
