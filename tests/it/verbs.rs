//! Commands that work on models: with a daemon that serves mounts, and without one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_hub::{Files, Hub};

use crate::harness::{eventually, noise};
use crate::machine::{Machine, error, is_mounted};

const MIB: usize = 1 << 20;
const MODEL: &str = "acme/big";

fn hub(len: usize) -> (Hub, String, Vec<u8>) {
    let hub = Hub::start().unwrap();
    let bytes = noise(3, len);
    let files = Files::new().text("config.json", "{}").bytes("sub/model.safetensors", bytes.clone());
    let commit = hub.commit(MODEL, files).unwrap();
    (hub, commit, bytes)
}

/// All that the link carries: a download of this Hub lasts.
fn slow(hub: &Hub, bytes_per_second: u64) {
    let mut options = hub.options();
    options.link_bandwidth = Some(bytes_per_second);
    hub.set_options(options);
}

fn fast(hub: &Hub) {
    let mut options = hub.options();
    options.link_bandwidth = None;
    hub.set_options(options);
}

fn begin(machine: &Machine, arguments: &[&str]) -> Child {
    machine.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn cached(machine: &Machine) -> u64 {
    machine.models().iter().map(|model| model["cached_bytes"].as_u64().unwrap()).sum()
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
}

#[test]
fn a_download_brings_every_file_and_offline_it_reads() {
    let (hub, commit, bytes) = hub(20 * MIB);
    let mut machine = Machine::at(hub.endpoint());
    let said = machine.succeed(&["model", "download", MODEL]);
    assert_eq!(said, format!("{MODEL} ({}): 2 files, 20.0 MiB, all here; 20.0 MiB fetched\n", &commit[..12]));
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 2, "each byte once");
    let again = machine.succeed(&["model", "download", MODEL]);
    assert!(again.ends_with("all here; nothing had to be fetched\n"), "{again}");
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 2);
    eventually("the daemon has ended", || machine.has_ended());
    hub.stop();
    let directory = machine.directory("hf");
    machine.succeed(&["mount", "--offline", directory.to_str().unwrap()]);
    let model = directory.join("hub/models--acme--big/snapshots").join(&commit).join("sub/model.safetensors");
    assert!(fs::read(model).unwrap() == bytes);
    machine.succeed(&["model", "download", MODEL, "--offline"]);
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let (hub, _, bytes) = hub(48 * MIB);
    let machine = Machine::at(hub.endpoint());
    slow(&hub, 24 * MIB as u64);
    let download = begin(&machine, &["model", "download", MODEL]);
    eventually("some of it has come", || hub.data_bytes() > 12 * MIB as u64);
    interrupt(&download);
    let output = download.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("the same command goes on from there"), "{}", error(&output));
    eventually("the daemon has ended", || machine.has_ended());
    let came = cached(&machine);
    assert!(came > 0 && came < bytes.len() as u64, "{came}");
    fast(&hub);
    hub.clear_log();
    machine.succeed(&["model", "download", MODEL]);
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 2 - came, "nothing that was recorded comes again");
}

#[test]
fn a_download_whose_command_is_killed_ends_with_its_daemon() {
    let (hub, _, bytes) = hub(48 * MIB);
    let machine = Machine::at(hub.endpoint());
    slow(&hub, 16 * MIB as u64);
    let mut download = begin(&machine, &["model", "download", MODEL]);
    eventually("some of it has come", || hub.data_bytes() > 4 * MIB as u64);
    download.kill().unwrap();
    download.wait().unwrap();
    eventually("the daemon has ended", || machine.has_ended());
    assert!(hub.data_bytes() < bytes.len() as u64);
}

#[test]
fn the_last_unmount_does_not_cut_off_a_download_and_its_end_ends_the_daemon() {
    let (hub, _, bytes) = hub(24 * MIB);
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    machine.succeed(&["mount", directory.to_str().unwrap()]);
    slow(&hub, 12 * MIB as u64);
    let download = begin(&machine, &["model", "download", MODEL]);
    eventually("some of it has come", || hub.data_bytes() > MIB as u64);
    machine.succeed(&["umount", directory.to_str().unwrap()]);
    fast(&hub);
    let output = download.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", error(&output));
    eventually("the daemon has ended", || machine.has_ended());
    assert_eq!(cached(&machine), bytes.len() as u64 + 2);
}

#[test]
fn a_mount_that_comes_while_a_download_runs_stays_after_it() {
    let (hub, _, _) = hub(24 * MIB);
    let mut machine = Machine::at(hub.endpoint());
    slow(&hub, 12 * MIB as u64);
    let download = begin(&machine, &["model", "download", MODEL]);
    eventually("some of it has come", || hub.data_bytes() > MIB as u64);
    let directory = machine.directory("hf");
    machine.succeed(&["mount", directory.to_str().unwrap()]);
    assert_eq!(machine.daemons().len(), 1);
    fast(&hub);
    assert!(download.wait_with_output().unwrap().status.success());
    assert!(is_mounted(&directory) && directory.join("hub/models--acme--big/refs").is_dir());
    assert_eq!(machine.daemons()[0]["repos"][0]["complete"], true);
}

#[test]
fn two_downloads_of_one_model_fetch_it_once() {
    let (hub, _, bytes) = hub(24 * MIB);
    let machine = Machine::at(hub.endpoint());
    let downloads = [(); 2].map(|()| begin(&machine, &["model", "download", MODEL]));
    for download in downloads {
        let output = download.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", error(&output));
    }
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 2);
}

#[test]
fn patterns_choose_files_and_none_that_match_are_an_error() {
    let hub = Hub::start().unwrap();
    let files =
        ["a.json", "b/c.json", "b/d.bin", "e.bin"].iter().fold(Files::new(), |files, name| files.text(*name, *name));
    hub.commit("datasets/acme/words", files).unwrap();
    let machine = Machine::at(hub.endpoint());
    let download = |patterns: &[&str]| {
        machine.succeed(&[&["model", "download", "datasets/acme/words"], patterns].concat());
        machine.models()[0]["complete_files"].as_u64().unwrap()
    };
    assert_eq!(download(&["--include", "*.json", "--exclude", "b/"]), 1);
    assert_eq!(download(&["--include", "*.json"]), 2, "a star stands for folders too");
    assert_eq!(download(&["--exclude", "e.*"]), 3);
    let none = machine.fail(1, &["model", "download", "datasets/acme/words", "--include", "*.gguf"]);
    assert!(none.contains("none of its 4 files"), "{none}");
    let wrong = machine.fail(1, &["model", "download", "datasets/acme/words", "--include", "[a"]);
    assert!(wrong.contains("`[a` is no pattern"), "{wrong}");
}

#[test]
fn what_cannot_be_downloaded_is_told_with_its_reason() {
    let (hub, _, _) = hub(MIB);
    hub.add_token("alice", "hf_alice");
    hub.commit("acme/secret", Files::new().text("config.json", "{}")).unwrap();
    hub.set_private("acme/secret", &["alice"]).unwrap();
    let machine = Machine::at(hub.endpoint());
    let download = ["model", "download", "acme/secret"];
    let private = machine.fail(1, &download);
    assert!(private.contains("acme/secret@main") && private.contains("give a token"), "{private}");
    assert!(machine.command(&download).env("HF_TOKEN", "hf_alice").output().unwrap().status.success());
    machine.fail(1, &download);
    let offline = machine.fail(1, &["model", "download", MODEL, "--offline"]);
    assert!(offline.contains("offline"), "{offline}");
    machine.fail(2, &["model", "download", "a/b/c"]);
    machine.fail(2, &["model", "download", MODEL, "--revision", "../x"]);
    let log = fs::read_to_string(machine.path("cache/weightfs.log")).unwrap();
    assert!(!log.contains("hf_alice"));
}

#[test]
fn with_the_hub_away_a_known_model_is_downloaded_as_it_is_known() {
    let (hub, _, _) = hub(MIB);
    let machine = Machine::at(hub.endpoint());
    machine.succeed(&["model", "download", MODEL]);
    hub.stop();
    let mut download = machine.command(&["model", "download", MODEL]);
    let output = download.env("WEIGHTFS_ORIGIN_GIVE_UP_SECONDS", "1").output().unwrap();
    assert!(output.status.success(), "{}", error(&output));
    assert!(error(&output).contains("the Hub does not answer"), "{}", error(&output));
}

#[test]
fn progress_without_a_terminal_is_lines_and_on_one_a_bar_that_leaves_nothing_behind() {
    let (hub, commit, _) = hub(24 * MIB);
    let machine = Machine::at(hub.endpoint());
    let piped = machine.run(&["model", "download", MODEL, "--include", "*.json"]);
    assert!(!error(&piped).contains(['\r', '\u{1b}']), "{}", error(&piped));

    slow(&hub, 16 * MIB as u64);
    let mut terminal = Command::new("script");
    let program = env!("CARGO_BIN_EXE_weightfs");
    terminal.args(["-qec", &format!("stty cols 100; {program} model download {MODEL}"), "/dev/null"]);
    for (name, value) in machine.command(&[]).get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let shown = terminal.env("TERM", "xterm").stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(" of 24.0 MiB, ") && shown.contains("of 2 files"), "{shown:?}");
    let (_, last) = shown.trim_end().rsplit_once(['\r', '\n', 'K']).unwrap();
    assert!(last.starts_with(&format!("{MODEL} ({}): 2 files", &commit[..12])), "{shown:?}");
}

#[test]
fn a_pinned_model_is_not_cleared_and_an_unpinned_one_is() {
    let (hub, _, bytes) = hub(2 * MIB);
    let machine = Machine::at(hub.endpoint());
    machine.succeed(&["model", "download", "--pin", MODEL]);
    assert_eq!(machine.models()[0]["pinned"], true);
    let refused = machine.fail(1, &["model", "clear", MODEL]);
    assert!(
        refused.contains("acme/big@main is pinned; `weightfs model unpin acme/big --revision main` first"),
        "{refused}"
    );
    let needs = machine.fail(1, &["model", "clear-all"]);
    assert!(needs.contains("--yes"), "{needs}");
    let stays = machine.succeed(&["model", "clear-all", "--yes"]);
    assert!(stays.contains("nothing was taken out; 2.0 MiB stay, they are pinned"), "{stays}");
    let other = machine.fail(1, &["model", "unpin", MODEL, "--revision", "v1"]);
    assert!(other.contains("of acme/big these are: main"), "{other}");
    machine.succeed(&["model", "unpin", MODEL]);
    machine.succeed(&["model", "clear", MODEL]);
    assert_eq!(cached(&machine), 0);
    hub.clear_log();
    machine.succeed(&["model", "download", MODEL]);
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 2);
    machine.fail(1, &["model", "pin", "acme/none"]);
}

#[test]
fn what_is_open_stays_and_is_named_and_what_others_share_stays() {
    let (hub, commit, bytes) = hub(2 * MIB);
    hub.commit("acme/copy", Files::new().bytes("same.bin", bytes.clone())).unwrap();
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    machine.succeed(&["mount", directory.to_str().unwrap()]);
    machine.succeed(&["model", "download", MODEL]);
    let path = directory.join("hub/models--acme--big/snapshots").join(&commit).join("sub/model.safetensors");
    let open = File::open(&path).unwrap();
    let in_use = machine.fail(1, &["model", "clear", MODEL]);
    assert!(in_use.contains("acme/big: sub/model.safetensors"), "{in_use}");
    let mut byte = [0];
    open.read_exact_at(&mut byte, MIB as u64).unwrap();
    assert_eq!(byte[0], bytes[MIB]);
    drop(open);
    machine.succeed(&["model", "download", "acme/copy"]);
    let shared = machine.succeed(&["model", "clear", MODEL]);
    assert!(shared.contains("2.0 MiB stay, other models or commits have the same"), "{shared}");
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn verify_finds_damage_and_repairs_it() {
    let (hub, _, bytes) = hub(4 * MIB);
    let machine = Machine::at(hub.endpoint());
    machine.succeed(&["model", "download", MODEL]);
    assert!(machine.succeed(&["verify"]).contains("2 files, 4.0 MiB read; all as it must be"));
    let damage = || {
        let folder = fs::read_dir(machine.path("cache/blobs/sha256")).unwrap().next().unwrap().unwrap().path();
        let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let file = File::options().write(true).open(file).unwrap();
        file.write_all_at(&[!bytes[9], !bytes[10]], 9).unwrap();
    };
    damage();
    hub.clear_log();
    let output = machine.run(&["verify", MODEL]);
    assert!(output.status.success(), "{}", error(&output));
    assert!(error(&output).contains("acme/big: sub/model.safetensors: 1048576 bytes"), "{}", error(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 file damaged (1.0 MiB), 1 of them fetched again"));
    assert!(machine.succeed(&["verify"]).contains("all as it must be"));
    damage();
    let broken = machine.fail(1, &["verify", "--no-repair"]);
    assert!(broken.contains("1 file is not complete any more"), "{broken}");
    assert_eq!(machine.models()[0]["complete"], false);
    assert!(machine.succeed(&["verify", "acme/none"]).contains("nothing of it is cached"));
}
