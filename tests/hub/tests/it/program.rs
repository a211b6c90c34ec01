//! The program: says where it is, serves a folder, goes when told to.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use reqwest::Method;

use crate::asking::ask;

/// A child that does not outlive a failed test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(arguments: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-hub"));
    Program(command.args(arguments).stdout(Stdio::piped()).spawn().unwrap())
}

#[tokio::test]
async fn program_announces_itself_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "served").unwrap();
    let port_file = folder.path().join("port");
    let repo = format!("acme/tiny={}", folder.path().display());
    let mut program = program(&["--repo", &repo, "--port-file", port_file.to_str().unwrap()]);
    let mut output = BufReader::new(program.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["endpoint", endpoint, "cdn", cdn] = words[..] else { panic!("{line}") };
    assert!(endpoint.starts_with("http://127.0.0.1:") && cdn.starts_with("http://127.0.0.1:"));
    assert_eq!(std::fs::read_to_string(&port_file).unwrap(), line);
    let url = format!("{endpoint}/acme/tiny/resolve/main/a.txt");
    assert_eq!(ask(Method::GET, &url, &[]).await.text(), "served");
    let kill = Command::new("kill").args(["-TERM", &program.0.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert!(program.0.wait().unwrap().success());
}

#[test]
fn program_prints_json_on_request() {
    let mut program = program(&["--print-json", "--token", "alice=hf_alice"]);
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(ready["endpoint"].is_string() && ready["cdn"].is_string());
}

#[test]
fn missing_folder_is_an_error() {
    for arguments in [["--root", "/does/not/exist"], ["--repo", "acme/tiny=/does/not/exist"]] {
        let mut program = program(&arguments);
        assert!(!program.0.wait().unwrap().success());
        let mut output = String::new();
        program.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(output.is_empty());
    }
}
