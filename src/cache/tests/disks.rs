//! Disks that fail as they are told, or forget what was not synced.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

use crate::cache::disk::{Disk, DiskSpace, LocalDisk};
use crate::db::{Database, FileStamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Open,
    Read,
    Write,
    Sync,
    Stamp,
    Unlink,
    Rename,
    Space,
}

impl Op {
    pub(super) const ALL: [Op; 8] =
        [Op::Open, Op::Read, Op::Write, Op::Sync, Op::Stamp, Op::Unlink, Op::Rename, Op::Space];
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Errno(i32),
    /// Half of what was asked for, and no error.
    Short,
}

/// After `before` operations of this kind the next `failing` go wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) op: Op,
    pub(super) before: u64,
    pub(super) failing: u64,
    pub(super) fault: Fault,
}

#[derive(Default)]
pub(super) struct FaultyDisk {
    plan: Mutex<Option<Plan>>,
}

impl FaultyDisk {
    pub(super) fn arm(&self, plan: Plan) {
        *self.plan.lock() = Some(plan);
    }

    pub(super) fn heal(&self) {
        *self.plan.lock() = None;
    }

    /// How much of `len` bytes may go through.
    fn pass(&self, op: Op, len: usize) -> io::Result<usize> {
        let mut plan = self.plan.lock();
        let Some(plan) = plan.as_mut().filter(|plan| plan.op == op) else { return Ok(len) };
        if plan.before > 0 {
            plan.before -= 1;
        } else if plan.failing > 0 {
            plan.failing -= 1;
            return match plan.fault {
                Fault::Errno(number) => Err(io::Error::from_raw_os_error(number)),
                Fault::Short => Ok(len.div_ceil(2)),
            };
        }
        Ok(len)
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, size: u64) -> io::Result<File> {
        self.pass(Op::Open, 0)?;
        LocalDisk.open(path, size)
    }

    fn pread(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.pass(Op::Read, buffer.len())?;
        // Where a read is direct, so must be what is left of it.
        let len = if len < buffer.len() { len.next_multiple_of(4096).min(buffer.len()) } else { len };
        LocalDisk.pread(file, &mut buffer[..len], offset)
    }

    fn pwritev(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let whole = slices.iter().map(|slice| slice.len()).sum();
        let len = self.pass(Op::Write, whole)?;
        if len == whole {
            return LocalDisk.pwritev(file, slices, offset);
        }
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(len).collect();
        LocalDisk.pwritev(file, &[IoSlice::new(&bytes)], offset)
    }

    /// What it was to sync is gone, though a read would show it a while longer on a real disk.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.pass(Op::Sync, 0)?;
        LocalDisk.sync_data(file)
    }

    fn stamp(&self, file: &File) -> io::Result<FileStamp> {
        self.pass(Op::Stamp, 0)?;
        LocalDisk.stamp(file)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.pass(Op::Unlink, 0)?;
        LocalDisk.unlink(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Op::Rename, 0)?;
        LocalDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Op::Rename, 0)?;
        LocalDisk.link(from, to)
    }

    fn space(&self, folder: &Path) -> io::Result<DiskSpace> {
        self.pass(Op::Space, 0)?;
        LocalDisk.space(folder)
    }
}

type Inode = u64;

/// What was in the file before an unsynced write.
struct Overwritten {
    at: u64,
    old: Vec<u8>,
}

/// A change of names that no folder was synced for.
enum Renaming {
    Created(PathBuf),
    Renamed { from: PathBuf, to: PathBuf },
    Unlinked { path: PathBuf, grave: PathBuf },
}

struct Volatile {
    operations: u64,
    unsynced: HashMap<Inode, Vec<Overwritten>>,
    names: Vec<Renaming>,
    random: StdRng,
    cut: bool,
}

/// Keeps what was synced and, when the power goes at its n-th operation, some of the rest.
pub(super) struct PowerDisk {
    root: PathBuf,
    image: PathBuf,
    graves: PathBuf,
    cut_at: u64,
    /// Whether names that nobody synced may be lost too, the latest first.
    loses_names: bool,
    db: Mutex<Option<Arc<Database>>>,
    state: Mutex<Volatile>,
    pub(super) gone: Notify,
}

impl PowerDisk {
    const PAGE: usize = 4096;

    pub(super) fn new(folder: &Path, image: &Path, seed: u64, cut_at: u64, loses_names: bool) -> Arc<Self> {
        let graves = folder.join("graves");
        fs::create_dir_all(&graves).unwrap();
        Arc::new(Self {
            root: folder.to_owned(),
            image: image.to_owned(),
            graves,
            cut_at,
            loses_names,
            db: Mutex::default(),
            state: Mutex::new(Volatile {
                operations: 0,
                unsynced: HashMap::new(),
                names: Vec::new(),
                random: StdRng::seed_from_u64(seed),
                cut: false,
            }),
            gone: Notify::new(),
        })
    }

    pub(super) fn with_database(&self, db: Arc<Database>) {
        *self.db.lock() = Some(db);
    }

    /// Also tells whether the power went before this.
    pub(super) fn cut_now(&self) -> bool {
        let mut state = self.state.lock();
        let before = state.cut;
        if !before {
            self.cut(&mut state);
        }
        self.db.lock().take();
        before
    }

    /// One operation at a time, so that the power goes between two of them.
    fn turn<T>(&self, operate: impl FnOnce(&mut Volatile) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.operations == self.cut_at && !state.cut {
            self.cut(&mut state);
            self.gone.notify_one();
        }
        state.operations += 1;
        operate(&mut state)
    }

    fn cut(&self, state: &mut Volatile) {
        state.cut = true;
        let Volatile { random, unsynced, names, .. } = state;
        fs::create_dir_all(self.image.join("blobs")).unwrap();
        if let Some(db) = &*self.db.lock() {
            let (from, to) = (self.root.join("models.db"), self.image.join("models.db"));
            db.copy_at_power_cut(&from, &to, &mut |end| random.random_range(0..end)).unwrap();
        }
        let mut copied = HashMap::new();
        self.copy(&self.root.join("blobs"), &mut copied);
        let lost = random.random_range(0..=2) as f64 / 2.0;
        for (inode, pieces) in unsynced {
            let Some(copy) = copied.get(inode) else { continue };
            let file = File::options().write(true).open(copy).unwrap();
            let mut settled = HashSet::new();
            for Overwritten { at, old } in pieces.iter().rev() {
                for (number, page) in old.chunks(Self::PAGE).enumerate() {
                    let place = at + (number * Self::PAGE) as u64;
                    if settled.contains(&place) {
                    } else if random.random_bool(lost) {
                        file.write_all_at(page, place).unwrap();
                    } else {
                        settled.insert(place);
                    }
                }
            }
        }
        if self.loses_names {
            let undone = random.random_range(0..=names.len());
            names.iter().rev().take(undone).for_each(|name| self.undo(name));
        }
    }

    fn copy(&self, folder: &Path, copied: &mut HashMap<Inode, PathBuf>) {
        fs::create_dir_all(self.at_image(folder)).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.copy(&path, copied);
                continue;
            }
            let (inode, to) = (fs::metadata(&path).unwrap().ino(), self.at_image(&path));
            match copied.get(&inode) {
                Some(other) => fs::hard_link(other, &to).unwrap(),
                None => {
                    fs::copy(&path, &to).unwrap();
                    copied.insert(inode, to);
                }
            }
        }
    }

    fn at_image(&self, path: &Path) -> PathBuf {
        self.image.join(path.strip_prefix(&self.root).unwrap())
    }

    fn undo(&self, name: &Renaming) {
        match name {
            Renaming::Created(path) => drop(fs::remove_file(self.at_image(path))),
            Renaming::Renamed { from, to } => drop(fs::rename(self.at_image(to), self.at_image(from))),
            Renaming::Unlinked { path, grave } => drop(fs::copy(grave, self.at_image(path))),
        }
    }
}

fn inode(file: &File) -> io::Result<Inode> {
    Ok(file.metadata()?.ino())
}

impl Disk for PowerDisk {
    fn open(&self, path: &Path, size: u64) -> io::Result<File> {
        self.turn(|state| {
            if !path.exists() {
                state.names.push(Renaming::Created(path.to_owned()));
            }
            LocalDisk.open(path, size)
        })
    }

    fn pread(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        LocalDisk.pread(file, buffer, offset)
    }

    fn pwritev(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.turn(|state| {
            let mut old = vec![0; slices.iter().map(|slice| slice.len()).sum()];
            let len = file.read_at(&mut old, offset)?;
            old.truncate(len);
            state.unsynced.entry(inode(file)?).or_default().push(Overwritten { at: offset, old });
            LocalDisk.pwritev(file, slices, offset)
        })
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.turn(|state| {
            state.unsynced.remove(&inode(file)?);
            Ok(())
        })
    }

    fn stamp(&self, file: &File) -> io::Result<FileStamp> {
        self.turn(|_| LocalDisk.stamp(file))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.turn(|state| {
            let grave = self.graves.join(state.names.len().to_string());
            fs::rename(path, &grave)?;
            state.names.push(Renaming::Unlinked { path: path.to_owned(), grave });
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn(|state| {
            LocalDisk.rename(from, to)?;
            state.names.push(Renaming::Renamed { from: from.to_owned(), to: to.to_owned() });
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn(|state| {
            LocalDisk.link(from, to)?;
            state.names.push(Renaming::Created(to.to_owned()));
            Ok(())
        })
    }

    fn space(&self, folder: &Path) -> io::Result<DiskSpace> {
        LocalDisk.space(folder)
    }
}
