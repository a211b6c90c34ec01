//! The stand-in as a program: serves folders until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use test_hub::{Files, Hub, HubBuilder, Options};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for the Hugging Face Hub: serves folders as repositories, with faults on request.
///
/// Prints one line, `endpoint http://ADDRESS cdn http://ADDRESS`, once it answers, and runs until SIGTERM or SIGINT.
/// Point clients at it with HF_ENDPOINT. While it runs, `/_hub/...` on the endpoint pushes commits, sets faults and
/// shows the log of requests.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder with {models,datasets,spaces,kernels}/ORG/NAME/ (or _/NAME/); its contents are the commits of main
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// One folder as one repository, for instance acme/tiny=./tiny or datasets/acme/words=./words
    #[arg(long, value_name = "REPO=DIR", value_parser = pair)]
    repo: Vec<(String, String)>,

    /// A token the Hub knows, with the name that access lists and the log use
    #[arg(long, value_name = "NAME=SECRET", value_parser = pair)]
    token: Vec<(String, String)>,

    /// Address of the Hub; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Address of the CDN that large files are redirected to
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    cdn_listen: SocketAddr,

    /// The Hub's URL as clients see it, where that is not its address
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// The CDN's URL as clients see it, where that is not its address
    #[arg(long, value_name = "URL")]
    cdn_url: Option<String>,

    /// How long signed CDN URLs are good for
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().url_lifetime_seconds)]
    url_lifetime: f64,

    /// Tree entries a page
    #[arg(long, value_name = "ENTRIES", default_value_t = Options::default().page_size)]
    page_size: usize,

    /// Also write the line to this file, complete or not at all
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,

    /// Print {"endpoint", "cdn"} as JSON in place of the line
    #[arg(long)]
    print_json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    // Before the ports are announced: whoever reads them may stop us at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hub = builder(&arguments).start().context("cannot start")?;
    for (repo, folder) in &arguments.repo {
        let files = Files::new().dir(folder);
        let files = files.with_context(|| format!("cannot read {folder}"))?;
        hub.commit(repo.as_str(), files)?;
    }
    announce(&arguments, &hub)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn builder(arguments: &Arguments) -> HubBuilder {
    let mut builder = Hub::builder().listen(arguments.listen).cdn_listen(arguments.cdn_listen).options(Options {
        page_size: arguments.page_size,
        url_lifetime_seconds: arguments.url_lifetime,
        ..Options::default()
    });
    if let Some(root) = &arguments.root {
        builder = builder.root(root);
    }
    if let Some(url) = &arguments.url {
        builder = builder.url(url);
    }
    if let Some(url) = &arguments.cdn_url {
        builder = builder.cdn_url(url);
    }
    for (name, secret) in &arguments.token {
        builder = builder.token(name, secret);
    }
    builder
}

fn announce(arguments: &Arguments, hub: &Hub) -> Result<()> {
    let (endpoint, cdn) = (hub.endpoint(), hub.cdn_endpoint());
    let line = match arguments.print_json {
        true => json!({ "endpoint": endpoint, "cdn": cdn }).to_string(),
        false => format!("endpoint {endpoint} cdn {cdn}"),
    };
    if let Some(file) = &arguments.port_file {
        let unfinished = file.with_extension("unfinished");
        std::fs::write(&unfinished, format!("{line}\n"))
            .and_then(|()| std::fs::rename(&unfinished, file))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
