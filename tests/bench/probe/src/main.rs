//! What the benchmark times: each command does one thing a loader or a downloader does, and prints one line of JSON.
//!
//! Called by tests/bench/*.py, which starts the servers and the mounts, and knows which side a file belongs to. Nothing
//! here knows weightfs: a file of a mount and one of the local disk are read by the same code.

mod download;
mod http;
mod look;
mod page_cache;
mod read;
mod tensors;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde::Serialize;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read files from begin to end, 1 MiB at a time, a thread each
    Sequential {
        #[arg(long, default_value_t = 1)]
        passes: u32,
        files: Vec<PathBuf>,
    },
    /// Read a file's pieces of 4 MiB in random order, each once, in eight threads
    Random {
        #[arg(long, default_value_t = 1)]
        passes: u32,
        file: PathBuf,
    },
    /// Map safetensors files one after the other, and copy every tensor out
    Tensors {
        #[arg(long, default_value_t = 1)]
        passes: u32,
        files: Vec<PathBuf>,
    },
    /// Read the config.json of a repository's main, as a client that knows only its name
    Config { repo: PathBuf },
    /// Read the first byte of a file
    FirstByte { file: PathBuf },
    /// Get the first byte of a URL by a ranged GET
    RangedGet { url: String },
    /// Get all of a URL
    Get { url: String },
    /// Stat a path again and again
    Stat { path: PathBuf },
    /// Open and close a file again and again
    Open { path: PathBuf },
    /// Download files by parallel ranges into a folder
    Download(download::Order),
    /// Drop the page cache of files, and say what stayed
    Cool { files: Vec<PathBuf> },
}

/// What is measured, on one line.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    /// Of an average or median operation where there are many of them.
    pub seconds: f64,
    pub bytes: u64,
    /// Of this process, its threads and its share of the kernel.
    pub cpu_seconds: f64,
    /// In memory after `cool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Vec<String>>,
}

fn main() -> Result<()> {
    let mut outcome = match Arguments::parse().command {
        Command::Sequential { passes, files } => read::sequential(&files, passes),
        Command::Random { passes, file } => read::random(&file, passes),
        Command::Tensors { passes, files } => tensors::copy_all(&files, passes),
        Command::Config { repo } => look::config(&repo),
        Command::FirstByte { file } => read::first_byte(&file),
        Command::RangedGet { url } => download::first_byte(&url),
        Command::Get { url } => download::whole(&url),
        Command::Stat { path } => look::stat(&path),
        Command::Open { path } => look::open(&path),
        Command::Download(order) => download::run(&order),
        Command::Cool { files } => page_cache::cool(&files),
    }?;
    outcome.cpu_seconds = page_cache::cpu_seconds();
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
