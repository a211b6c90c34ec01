//! How far a download is, as the text of a `ModelStatusUpdate`: that message has no fields for it. Written by the service, read
//! by our command line; other servers say what they like.

use super::proto::JobPosition;
use crate::control::job::Position;

pub fn write(position: &Position) -> String {
    let Position { step, bytes, total_bytes, files, total_files } = *position;
    let step = if step.is_empty() { "starting" } else { step };
    format!("{step}: {bytes} of {total_bytes} bytes, {files} of {total_files} files")
}

/// What is no such text is a step without figures.
pub fn read(text: &str) -> JobPosition {
    figures(text).unwrap_or_else(|| JobPosition { step: text.to_owned(), ..JobPosition::default() })
}

fn figures(text: &str) -> Option<JobPosition> {
    let (step, figures) = text.split_once(": ")?;
    let (bytes, files) = figures.strip_suffix(" files")?.split_once(" bytes, ")?;
    let pair =
        |text: &str| text.split_once(" of ").and_then(|(done, all)| Some((done.parse().ok()?, all.parse().ok()?)));
    let ((bytes, total_bytes), (files, total_files)) = (pair(bytes)?, pair(files)?);
    Some(JobPosition { step: step.to_owned(), bytes, total_bytes, files, total_files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_other_texts_are_steps() {
        let position = Position { step: "downloading", bytes: 3, total_bytes: 10, files: 1, total_files: 2 };
        let expected =
            JobPosition { step: "downloading".to_owned(), bytes: 3, total_bytes: 10, files: 1, total_files: 2 };
        assert_eq!(read(&write(&position)), expected);
        assert_eq!(read(&write(&Position::default())).step, "starting");
        for other in [
            "",
            "Starting download",
            "x: 1 of 2 bytes",
            "x: -1 of 2 bytes, 1 of 2 files",
            "a: b of c bytes, d of e files",
        ] {
            assert_eq!(read(other), JobPosition { step: other.to_owned(), ..JobPosition::default() });
        }
    }
}
