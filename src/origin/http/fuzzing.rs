//! The parsers of response headers, for `crate::fuzzing`.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::body::{Shape, Wanted};
use super::{dates, headers};
use crate::types::ByteRange;

/// The input is `name: value` in lines.
pub fn response_headers(bytes: &[u8]) {
    let mut map = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    if let Some((range, _)) = headers::content_range(&map) {
        assert!(range.start < range.end, "a range has a byte");
    }
    headers::etag(&map, "etag");
    headers::next_link(&map);
    headers::retry_after(&map);
    headers::server_time(&map);
    if let Some(text) = headers::text(&map, "last-modified") {
        dates::from_iso(text);
        dates::from_http(text);
    }
    let wanted = Wanted { range: ByteRange::new(0, 10), size: 100 };
    for status in [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE] {
        if Shape::of(status, &map, wanted).is_ok_and(|shape| shape != Shape::Whole) {
            assert_eq!(headers::content_range(&map).map(|(range, _)| range), Some(wanted.range));
        }
    }
}
