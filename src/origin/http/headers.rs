//! What headers say, in the terms of this crate. Pure; nothing in a foreign header is trusted to be well formed.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, LINK, RETRY_AFTER};

use super::dates;
use crate::types::ByteRange;

/// A header as text, if it is there and is text.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// An etag's bare value: without `W/` and quotes.
pub fn etag<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = text(headers, name)?;
    Some(value.strip_prefix("W/").unwrap_or(value).trim_matches('"'))
}

/// `bytes 0-9/100`: the bytes that follow, and the size of the whole if it is stated.
pub fn content_range(headers: &HeaderMap) -> Option<(ByteRange, Option<u64>)> {
    let value = text(headers, "content-range")?.strip_prefix("bytes")?.trim_start();
    let (range, size) = value.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let size = match size {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    (first <= last).then_some((ByteRange::new(first, last.checked_add(1)?), size))
}

/// The server's own clock where it tells it, so that a wrong clock here makes no wait too short.
pub fn server_time(headers: &HeaderMap) -> i64 {
    headers.get(DATE).and_then(|date| dates::from_http(date.to_str().ok()?)).unwrap_or_else(dates::now)
}

/// How long the server wants to be left alone: `RateLimit: "api";r=0;t=55`, else `Retry-After` in seconds or as a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let reset = text(headers, "ratelimit")
        .and_then(|value| value.split(';').find_map(|part| part.trim().strip_prefix("t=")?.parse::<u64>().ok()));
    if let Some(seconds) = reset {
        // The figure is rounded down: one second later the window is surely a new one.
        return Some(Duration::from_secs(seconds.saturating_add(1)));
    }
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => dates::from_http(value)?.saturating_sub(server_time(headers)).max(0) as u64,
    };
    Some(Duration::from_secs(seconds))
}

/// The target of `Link: <…>; rel="next"`, as written.
pub fn next_link(headers: &HeaderMap) -> Option<&str> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links.flat_map(split_links).find_map(|(target, parameters)| {
        let is_next = parameters.split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        is_next.then_some(target)
    })
}

// A comma may also stand within a URL, so each link is found by its angle brackets.
fn split_links(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let (parameters, next) = after.split_at(end);
        rest = next;
        Some((target, parameters.trim_end_matches([',', ' '])))
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_content_range_is_read_with_and_without_the_size() {
        let read = |value| content_range(&headers(&[("content-range", value)]));
        assert_eq!(read("bytes 5-9/100"), Some((ByteRange::new(5, 10), Some(100))));
        assert_eq!(read("bytes 5-9/*"), Some((ByteRange::new(5, 10), None)));
        for value in ["", "bytes */100", "bytes 9-5/100", "items 0-1/2", "bytes 0-18446744073709551615/*", "bytes 1-2"]
        {
            assert_eq!(read(value), None, "{value:?}");
        }
    }

    #[test]
    fn every_way_to_ask_for_patience_is_understood() {
        let read = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs)).map(|wait| wait.as_secs());
        assert_eq!(read(&[("retry-after", "7")]), Some(7));
        assert_eq!(read(&[("ratelimit", "\"api\";r=0;t=55"), ("retry-after", "7")]), Some(56));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read(&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(60));
        assert_eq!(read(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
        assert_eq!(read(&[("retry-after", "soon")]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let next = |value| next_link(&headers(&[("link", value)])).map(str::to_owned);
        assert_eq!(next("<http://h/a?x=1,2>; rel=\"next\""), Some("http://h/a?x=1,2".into()));
        assert_eq!(next("</p>; rel=\"prev\", </n>; title=\"a\"; rel=next"), Some("/n".into()));
        assert_eq!(next("</x>; rel=\"xet-auth\""), None);
        assert_eq!(next("<unclosed; rel=next"), None);
    }

    #[test]
    fn an_etag_is_read_bare() {
        let headers = headers(&[("etag", "W/\"abc\""), ("x-linked-etag", "\"def\"")]);
        assert_eq!(etag(&headers, "etag"), Some("abc"));
        assert_eq!(etag(&headers, "x-linked-etag"), Some("def"));
    }
}
