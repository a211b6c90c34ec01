//! The services under a real systemd, which runs as the first process of namespaces of its own: what it keeps outlives
//! the daemon that it runs.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::fs::{Advice, fadvise};
use test_hub::{Files, Hub};

use crate::harness::{eventually, noise};
use crate::serve::figures::get;
use crate::serve::server::{download, files_of, models_at, set_bandwidth};

const MIB: usize = 1 << 20;
/// A mount of its own, and the service for other machines.
const MOUNT: Unit =
    ("weightfs@.service", "weightfs@test.service", include_str!("../../deploy/systemd/weightfs@.service"));
const SERVE: Unit = ("weightfs.service", "weightfs.service", include_str!("../../deploy/systemd/weightfs.service"));

/// The file, the service that it makes, and the text.
type Unit = (&'static str, &'static str, &'static str);

/// A service manager with one service in it, and nothing else.
struct Manager {
    service: &'static str,
    folder: tempfile::TempDir,
    process: Child,
}

impl Manager {
    /// `call` is what the program is started with, `DIR` in it stands for the folder.
    fn boot(hub: &Hub, (file, service, unit): Unit, call: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let units = folder.path().join("units");
        fs::create_dir_all(units.join(format!("{service}.d"))).unwrap();
        fs::create_dir(folder.path().join("hf")).unwrap();
        fs::write(units.join(file), unit).unwrap();
        fs::write(units.join("test.target"), "[Unit]\nDefaultDependencies=no\n").unwrap();
        let call = call.replace("DIR", folder.path().to_str().unwrap());
        let drop_in = drop_in(folder.path(), hub.endpoint(), &call);
        fs::write(units.join(format!("{service}.d/test.conf")), drop_in).unwrap();
        let script = format!(
            "awk '$3 == \"fuse.weightfs\" {{ print $2 }}' /proc/mounts | while read -r other; do umount -l \"$other\"; done;
             mount -t proc proc /proc && umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup &&
             mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && cp -r {units}/* /run/systemd/system/ &&
             exec env -i PATH=\"$PATH\" container=test \"$(command -v systemd || echo /lib/systemd/systemd)\" \
             --system --unit=test.target --log-target=null --show-status=false",
            units = units.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--fork", "--pid", "--mount", "--cgroup", "--kill-child=SIGKILL", "--propagation", "private"]);
        let log = File::create(folder.path().join("boot.log")).unwrap();
        command.args(["sh", "-c", &script]).stdin(Stdio::null());
        let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let manager = Self { service, folder, process };
        eventually("systemd answers", || {
            manager.try_run(&["is-active", "test.target"]).is_some_and(|said| said.status.success())
        });
        manager
    }

    /// The first process of its namespaces, by its number out here.
    fn init(&self) -> Option<u32> {
        let unshare = self.process.id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    fn try_run(&self, arguments: &[&str]) -> Option<Output> {
        Some(self.inside("systemctl")?.args(arguments).output().unwrap())
    }

    /// A program in its namespaces.
    fn inside(&self, program: &str) -> Option<Command> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init()?.to_string(), "--pid", "--mount", "--cgroup", program]);
        Some(command)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "systemctl {arguments:?}: {said}{}", self.log());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn shows(&self, property: &str) -> String {
        self.run(&["show", self.service, "--value", "-p", property])
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// A path in its namespace.
    fn path(&self, below: &str) -> PathBuf {
        let place = self.folder.path().strip_prefix("/").unwrap();
        Path::new("/proc").join(self.init().unwrap().to_string()).join("root").join(place).join(below)
    }

    /// Waits until another process than `former` serves.
    fn next_daemon(&self, former: &str) {
        eventually("another daemon serves", || {
            self.shows("MainPID") != former
                && self.shows("ActiveState") == "active"
                && self.shows("SubState") == "running"
        });
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Everything in the namespace ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// While there is a file of this name, the service does not start.
const WAIT: &str = "wait";

/// What differs from a system where the package is installed.
fn drop_in(folder: &Path, endpoint: &str, call: &str) -> String {
    let (program, folder) = (env!("CARGO_BIN_EXE_weightfs"), folder.display());
    format!(
        "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n\
         [Service]\nUser=root\nDynamicUser=no\nExecStart=\nExecStart={program} {call}\n\
         ExecReload=\nExecReload={program} upgrade\n\
         ExecStartPre=/bin/sh -c 'while [ -e {folder}/{WAIT} ]; do sleep 0.05; done'\n\
         Environment=HF_ENDPOINT={endpoint} HOME={folder}\n\
         Environment=WEIGHTFS_CACHE_DIRECTORY={folder}/cache WEIGHTFS_RUNTIME_DIRECTORY={folder}/run\n\
         StandardOutput=append:{folder}/daemon.log\nStandardError=append:{folder}/daemon.log\n"
    )
}

#[test]
fn what_systemd_keeps_outlives_the_daemon_that_it_runs() {
    let hub = Hub::start().unwrap();
    let bytes = noise(5, 24 * MIB + 7);
    let files: Files = [("model.safetensors", bytes.clone())].into_iter().collect();
    let commit = hub.commit("acme/served", files).unwrap();
    let manager = Manager::boot(&hub, MOUNT, "mount --foreground DIR/hf");
    manager.run(&["start", manager.service]);
    let file = File::open(manager.path(&format!("hf/hub/models--acme--served/snapshots/{commit}/model.safetensors")));
    let (file, is_over, passes) = (file.unwrap(), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut buffer = vec![0; MIB];
            while !is_over.load(Ordering::Acquire) {
                for (at, right) in bytes.chunks(MIB).enumerate() {
                    file.read_exact_at(&mut buffer[..right.len()], (at * MIB) as u64).unwrap();
                    assert!(buffer[..right.len()] == *right, "wrong bytes in block {at}");
                }
                fadvise(&file, 0, None, Advice::DontNeed).unwrap();
                passes.fetch_add(1, Ordering::AcqRel);
            }
        });
        let end = EndsWithMe(&is_over);
        for round in 0..6 {
            let former = manager.shows("MainPID");
            // A third of them are upgrades to the same version.
            match round % 3 {
                2 => drop(manager.run(&["reload", manager.service])),
                _ => drop(manager.run(&["kill", "--kill-who=main", "--signal=KILL", manager.service])),
            }
            manager.next_daemon(&former);
            let before = passes.load(Ordering::Acquire);
            eventually("the reader goes on", || passes.load(Ordering::Acquire) > before + 1 || reader.is_finished());
        }
        drop(end);
        reader.join().unwrap();
    });
    drop(file);
    assert_eq!(manager.shows("NFileDescriptorStore"), "2", "{}", manager.log());
    manager.run(&["stop", manager.service]);
    assert_eq!(manager.shows("NFileDescriptorStore"), "0");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", manager.init().unwrap())).unwrap();
    let directory = manager.folder.path().join("hf");
    assert!(!mounts.contains(directory.to_str().unwrap()), "{mounts}{}", manager.log());
}

/// A failed step ends the reader too.
struct EndsWithMe<'a>(&'a AtomicBool);

impl Drop for EndsWithMe<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// `weightfs serve` under a service manager, with a mount of which a complete file is open.
struct Served {
    manager: Manager,
    port: u16,
    /// For the figures.
    metrics: u16,
    runtime: tokio::runtime::Runtime,
    bytes: Vec<u8>,
    file: File,
}

impl Served {
    const MODEL: &str = "acme/served";

    fn start(hub: &Hub) -> Self {
        let bytes = noise(6, 4 * MIB + 7);
        let files: Files = [("model.safetensors", bytes.clone())].into_iter().collect();
        let commit = hub.commit(Self::MODEL, files).unwrap();
        let (port, metrics) = (test_hub::free_port(), test_hub::free_port());
        let serve = format!("serve --host 127.0.0.1 --port {port} --metrics-port {metrics}");
        let manager = Manager::boot(hub, SERVE, &serve);
        manager.run(&["start", manager.service]);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // Ready is who listens.
        assert!(runtime.block_on(brings(port)).is_some(), "{}", manager.log());
        let folder = manager.folder.path();
        let mut mount = manager.inside(env!("CARGO_BIN_EXE_weightfs")).unwrap();
        mount.arg("mount").arg(folder.join("hf")).env("HF_ENDPOINT", hub.endpoint()).env("HOME", folder);
        mount.env("WEIGHTFS_CACHE_DIRECTORY", folder.join("cache"));
        let mounted = mount.env("WEIGHTFS_RUNTIME_DIRECTORY", folder.join("run")).output().unwrap();
        assert!(mounted.status.success(), "{}{}", String::from_utf8_lossy(&mounted.stderr), manager.log());
        let file = format!("hf/hub/models--acme--served/snapshots/{commit}/model.safetensors");
        let file = File::open(manager.path(&file)).unwrap();
        let served = Self { manager, port, metrics, runtime, bytes, file };
        served.reads();
        served
    }

    fn reads(&self) {
        let mut buffer = vec![0; self.bytes.len()];
        self.file.read_exact_at(&mut buffer, 0).unwrap();
        assert!(buffer == self.bytes);
        fadvise(&self.file, 0, None, Advice::DontNeed).unwrap();
    }

    fn answers(&self) -> bool {
        self.runtime.block_on(brings(self.port)).is_some()
            && get(self.metrics, "/healthz").is_some_and(|(status, _)| status == 200)
    }

    fn stop(self) {
        drop(self.file);
        self.manager.run(&["stop", self.manager.service]);
        assert_eq!(self.manager.shows("NFileDescriptorStore"), "0");
    }
}

async fn brings(port: u16) -> Option<()> {
    let mut client = models_at(&format!("http://127.0.0.1:{port}")).await?;
    download(&mut client, Served::MODEL).await;
    Some(())
}

#[test]
fn a_server_is_replaced_while_its_mounts_are_read() {
    let hub = Hub::start().unwrap();
    let served = Served::start(&hub);
    let manager = &served.manager;
    for step in ["reload", "kill", "reload"] {
        let former = manager.shows("MainPID");
        match step {
            "kill" => drop(manager.run(&["kill", "--kill-who=main", "--signal=KILL", manager.service])),
            _ => drop(manager.run(&["reload", manager.service])),
        }
        manager.next_daemon(&former);
        served.reads();
        eventually("the service answers", || served.answers());
    }
    served.stop();
}

#[test]
fn a_stream_under_way_ends_whole_before_the_next_server_takes_over() {
    let hub = Hub::start().unwrap();
    let served = Served::start(&hub);
    let files: Files = [("model.bin", noise(7, 16 * MIB))].into_iter().collect();
    hub.commit("acme/streamed", files).unwrap();
    set_bandwidth(&hub, Some(8 * MIB as u64));
    let manager = &served.manager;
    let former = manager.shows("MainPID");
    let came = served.runtime.block_on(async {
        let mut client = models_at(&format!("http://127.0.0.1:{}", served.port)).await.unwrap();
        let mut stream = client.stream_model_files(files_of("acme/streamed")).await.unwrap().into_inner();
        let mut came = stream.message().await.unwrap().unwrap().data.len();
        manager.run(&["reload", manager.service]);
        served.reads();
        while let Some(chunk) = stream.message().await.unwrap() {
            came += chunk.data.len();
        }
        came
    });
    assert_eq!(came, 16 * MIB);
    manager.next_daemon(&former);
    served.reads();
    eventually("the service answers", || served.answers());
    served.stop();
}

#[test]
fn ports_that_are_taken_after_a_takeover_are_tried_until_they_are_free() {
    let hub = Hub::start().unwrap();
    let served = Served::start(&hub);
    let manager = &served.manager;
    let former = manager.shows("MainPID");
    let wait = manager.folder.path().join(WAIT);
    fs::write(&wait, "").unwrap();
    manager.run(&["kill", "--kill-who=main", "--signal=KILL", manager.service]);
    let take = |port| {
        let mut taken = None;
        eventually("the port is free", || {
            taken = TcpListener::bind(("127.0.0.1", port)).ok();
            taken.is_some()
        });
        taken
    };
    let thieves = [take(served.port), take(served.metrics)];
    fs::remove_file(wait).unwrap();
    manager.next_daemon(&former);
    served.reads();
    eventually("it has tried both", || manager.log().matches("tried again every second").count() == 2);
    drop(thieves);
    eventually("the service answers", || served.answers());
    served.stop();
}
