//! What clients write into `refs/`, for `crate::fuzzing`.

use super::write::parse_commit;

pub fn refs(bytes: &[u8]) {
    if let Some(commit) = parse_commit(bytes) {
        assert!(std::str::from_utf8(bytes).is_ok_and(|text| text.trim() == commit.to_string()));
    }
}
