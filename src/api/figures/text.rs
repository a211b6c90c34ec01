//! Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.

use std::fmt::Write;

use crate::metrics::{Figure, Kind};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Each figure with its help and type, and the version that gives them.
pub fn page(version: &str, figures: &[(Figure, u64)]) -> String {
    let mut page = String::new();
    // A label's value is quoted, and a version has nothing to escape.
    describe(&mut page, "weightfs_build_info", "gauge", "1, with the daemon's version as a label.");
    let _ = writeln!(page, "weightfs_build_info{{version=\"{version}\"}} 1");
    for (figure, value) in figures {
        let name = figure.prometheus_name();
        let kind = match figure.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        describe(&mut page, &name, kind, figure.help);
        let _ = writeln!(page, "{name} {value}");
    }
    page
}

fn describe(page: &mut String, name: &str, kind: &str, help: &str) {
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Levels, Metrics};

    #[test]
    fn each_figure_has_its_help_its_type_and_its_value() {
        let figure = Figure { name: "read_bytes", unit: "bytes", help: "A \\ and\na line.", kind: Kind::Counter };
        assert_eq!(
            page("1.2.3", &[(figure, u64::MAX)]),
            "# HELP weightfs_build_info 1, with the daemon's version as a label.\n\
             # TYPE weightfs_build_info gauge\n\
             weightfs_build_info{version=\"1.2.3\"} 1\n\
             # HELP weightfs_read_bytes_total A \\\\ and\\na line.\n\
             # TYPE weightfs_read_bytes_total counter\n\
             weightfs_read_bytes_total 18446744073709551615\n"
        );
    }

    #[test]
    fn names_keep_the_conventions_and_none_comes_twice() {
        let figures: Vec<_> = Metrics::FIGURES.iter().chain(Levels::FIGURES).collect();
        let mut names: Vec<_> = figures.iter().map(|figure| figure.prometheus_name()).collect();
        for (figure, name) in figures.iter().zip(&names) {
            let allowed = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(allowed), "{name}");
            assert!(!figure.name.ends_with("_total"), "{name}");
            let has_unit = ["bytes", "seconds"].map(|unit| (figure.unit == unit) == figure.name.ends_with(unit));
            assert_eq!(has_unit, [true, true], "{name} is in {}", figure.unit);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), figures.len());
    }
}
