//! As much of HTTP/1.1 as the benchmark's own servers speak: GET of a range over a kept connection, and redirects.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};

const MAX_REDIRECTS: usize = 5;

/// `http://HOST:PORT/PATH`, taken apart.
#[derive(Clone, Debug)]
pub struct Url {
    host: String,
    path: String,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("http://").with_context(|| format!("not an http URL: {text}"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Url { host: host.to_owned(), path: format!("/{path}") })
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

pub struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

#[derive(Debug)]
pub struct Head {
    status: u16,
    /// Of the body.
    pub length: u64,
    /// Of the file, from Content-Range.
    pub size: Option<u64>,
    location: Option<String>,
}

impl Connection {
    pub fn to(url: &Url) -> Result<Self> {
        let stream = TcpStream::connect(&url.host).with_context(|| format!("cannot connect to {}", url.host))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::with_capacity(64 << 10, stream), host: url.host.clone() })
    }

    /// Asks, and reads the head of the answer; the caller reads the body, all of it before the next question.
    fn ask(&mut self, url: &Url, range: Option<Range<u64>>) -> Result<Head> {
        let range = range.map(|range| format!("Range: bytes={}-{}\r\n", range.start, range.end - 1));
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench-probe\r\n{}\r\n",
            url.path,
            url.host,
            range.unwrap_or_default()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut head = Head { status: status.context("no HTTP")?, length: 0, size: None, location: None };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse()?,
                "content-range" => head.size = value.rsplit('/').next().and_then(|size| size.parse().ok()),
                "location" => head.location = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "{} closed the connection", self.host);
        Ok(line.trim_end().to_owned())
    }

    /// The body's bytes, some of them at a time.
    pub fn body(&mut self, head: &Head) -> impl Read {
        self.stream.by_ref().take(head.length)
    }

    /// Asks one server that is known to have it.
    pub fn range(&mut self, url: &Url, range: Range<u64>) -> Result<Head> {
        let wanted = range.end - range.start;
        let head = self.ask(url, Some(range))?;
        ensure!(head.status == 206 && head.length == wanted, "{url:?} answered {head:?}");
        Ok(head)
    }
}

/// Asks wherever redirects lead; returns the place where it is, and the connection at its body.
pub fn follow(url: &str, range: Option<Range<u64>>) -> Result<(Url, Connection, Head)> {
    let mut url = Url::parse(url)?;
    for _ in 0..MAX_REDIRECTS {
        let mut connection = Connection::to(&url)?;
        let head = connection.ask(&url, range.clone())?;
        match (head.status, &head.location) {
            (200 | 206, _) => return Ok((url, connection, head)),
            (300..400, Some(location)) => url = Url::parse(location)?,
            _ => bail!("{url:?} answered {head:?}"),
        }
    }
    bail!("{url:?}: too many redirects")
}
