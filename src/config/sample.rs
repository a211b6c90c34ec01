//! A configuration file with every setting in it, none of them set: `weightfs config init` writes it.

use std::fmt::Write;

use super::error::ConfigError;
use super::places::Places;
use super::settings::{Flag, Settings};

const WIDTH: usize = 100;

const HEAD: &str = "\
# Settings of weightfs. Each line that begins with `#` and a key is a setting with its default: take the `#` away to change it.
# The command line and environment variables win over this file. `weightfs config validate` checks it, `weightfs config show`
# says what is in effect and why.
";

/// The file's text, with the defaults of this user.
pub fn sample(places: &Places) -> Result<String, ConfigError> {
    let mut page = HEAD.to_owned();
    let mut above: Vec<&str> = Vec::new();
    for (setting, value) in Settings::from_layers(&[], places)?.values() {
        let mut groups: Vec<_> = setting.key.split('.').collect();
        let name = groups.pop().unwrap_or_default();
        let same = groups.iter().zip(&above).take_while(|(one, other)| one == other).count();
        if same == 0 {
            page.push('\n');
        }
        for (depth, group) in groups.iter().enumerate().skip(same) {
            // Writing into a string cannot fail.
            let _ = writeln!(page, "{}{group}:", indent(depth));
        }
        let indent = indent(groups.len());
        let mut words = format!("{}. It is {}.", setting.help, setting.expected());
        if value.is_null() || setting.default != plain(&value) {
            words.push_str(&format!(" Default: {}.", setting.default));
        }
        words.push_str(&format!(" {}", setting.variable()));
        if let Flag::All(flag) | Flag::Daemon(flag) | Flag::Mount(flag) | Flag::Serve(flag) = setting.flag {
            words.push_str(&format!(", --{flag}"));
        }
        for line in folded(&words, WIDTH - indent.len()) {
            let _ = writeln!(page, "{indent}# {line}");
        }
        let _ = writeln!(page, "{indent}#{name}: {value}");
        above = groups;
    }
    Ok(page)
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Lines of at most `width` bytes, but for longer words.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
