//! Between the kernel's requests and [`ModelFs`]: types in, types out, no decisions.
//!
//! Each request is tried once on the FUSE thread. What must wait moves to the runtime together with its reply, so a
//! stalled download never holds a FUSE thread.

mod attributes;
mod convert;
mod folders;
mod reading;

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use fuser::{
    CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use tokio::runtime::Handle;

use super::attr::Attr;
use super::error::FsError;
use super::list::{Cookie, FolderMode, listed_after};
use super::lookup::Lookup;
use super::model_fs::ModelFs;
use super::passthrough::Passthrough;
use super::read::OpenMode;
use super::scratch::{Change, RenameMode};
use crate::types::ByteRange;
use attributes::reply_attribute;
use convert::{delivery, errno, file_attr, file_type, new_time, node, owner, text};
use folders::Folders;
use reading::{read_from_afar, read_here};

pub(super) struct Adapter {
    fs: Arc<ModelFs>,
    runtime: Handle,
    folders: Arc<Folders>,
}

impl Adapter {
    pub(super) fn new(fs: Arc<ModelFs>, runtime: Handle) -> Self {
        Self { fs, runtime, folders: Arc::new(Folders::new()) }
    }

    /// Runs `work` to its end: here if it need not wait, else on the runtime.
    fn answer<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, FsError>> + Send + 'static,
        reply: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        let _runtime = self.runtime.enter();
        let reply = move |outcome: Result<T, FsError>| reply(outcome.map_err(errno));
        let mut work = Box::pin(work);
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => reply(outcome),
            Poll::Pending => {
                self.runtime.spawn(async move { reply(work.await) });
            }
        }
    }

    fn fs(&self) -> Arc<ModelFs> {
        self.fs.clone()
    }

    fn reply_entry(reply: ReplyEntry, outcome: Result<Attr, Errno>) {
        match outcome {
            Ok(attr) => reply.entry(&attr.lasting.duration(), &file_attr(&attr), Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn reply_attr(reply: ReplyAttr, outcome: Result<Attr, Errno>) {
        match outcome {
            Ok(attr) => reply.attr(&attr.lasting.duration(), &file_attr(&attr)),
            Err(error) => reply.error(error),
        }
    }

    fn reply_empty(reply: ReplyEmpty, outcome: Result<(), Errno>) {
        match outcome {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Each of them only makes things faster: a kernel without one is served all the same.
        for wish in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
        ] {
            if let Err(refused) = config.add_capabilities(wish) {
                tracing::debug!(?refused, "the kernel lacks a capability");
            }
        }
        // Whether or not it is to be used: a later daemon may have other settings, and nothing else to agree on.
        // Backing files lie on no stacked file system, and a stacked one may still be put on top of this mount.
        const STACK: u32 = 1;
        let passes = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok();
        if !(passes && config.set_max_stack_depth(STACK).is_ok()) && self.fs.passthrough.is_wanted() {
            self.fs.passthrough.turn_off(Passthrough::NO_KERNEL);
        }
        // What is too much comes back as the most that is possible.
        const READ_AHEAD: u32 = 1 << 20;
        if let Err(most) = config.set_max_readahead(READ_AHEAD) {
            let _ = config.set_max_readahead(most);
        }
        const BACKGROUND: u16 = 64;
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (fs, name) = (self.fs(), text(name));
        self.answer(async move { fs.lookup(node(parent), &name?).await }, |found| match found {
            Ok(Lookup::Found(attr)) => Self::reply_entry(reply, Ok(attr)),
            Ok(Lookup::Absent(lasting)) => {
                // Node 0 with a lifetime is an absence that the kernel may believe.
                let absent = file_attr(&Attr::absent());
                reply.entry(&lasting.duration(), &absent, Generation(0));
            }
            Err(error) => reply.error(error),
        });
    }

    fn forget(&self, _request: &Request, inode: INodeNo, _lookups: u64) {
        self.fs.forget(node(inode));
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let fs = self.fs();
        self.answer(async move { fs.attr(node(inode)).await }, |attr| Self::reply_attr(reply, attr));
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change { mode, uid, gid, size, atime: atime.map(new_time), mtime: mtime.map(new_time) };
        let fs = self.fs();
        self.answer(async move { fs.set_attr(node(inode), &change).await }, |attr| Self::reply_attr(reply, attr));
    }

    fn readlink(&self, _request: &Request, inode: INodeNo, reply: ReplyData) {
        let fs = self.fs();
        self.answer(async move { fs.link_target(node(inode)).await }, |target| match target {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(error),
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        const REGULAR: u32 = 0o100_000;
        if mode & 0o170_000 != REGULAR {
            return reply.error(Errno::EPERM);
        }
        let (fs, name, owner, delivery) = (self.fs(), text(name), owner(request), delivery(request));
        let make = async move {
            let attr = fs.create(node(parent), &name?, mode & 0o7777, owner, true, delivery).await?;
            fs.release(attr.node);
            Ok(attr)
        };
        self.answer(make, |attr| Self::reply_entry(reply, attr));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let (fs, name, owner, delivery) = (self.fs(), text(name), owner(request), delivery(request));
        let make = async move { fs.mkdir(node(parent), &name?, mode & 0o7777, owner, delivery).await };
        self.answer(make, |attr| Self::reply_entry(reply, attr));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name, delivery) = (self.fs(), text(name), delivery(request));
        self.answer(async move { fs.unlink(node(parent), &name?, delivery).await }, |done| {
            Self::reply_empty(reply, done)
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name, delivery) = (self.fs(), text(name), delivery(request));
        self.answer(async move { fs.rmdir(node(parent), &name?, delivery).await }, |done| {
            Self::reply_empty(reply, done)
        });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (fs, name, target, owner) = (self.fs(), text(name), text(target.as_os_str()), owner(request));
        let delivery = delivery(request);
        let make = async move { fs.symlink(node(parent), &name?, &target?, owner, delivery).await };
        self.answer(make, |attr| Self::reply_entry(reply, attr));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            RenameMode::Exchange
        } else if flags.contains(RenameFlags::RENAME_NOREPLACE) {
            RenameMode::NoReplace
        } else {
            RenameMode::Replace
        };
        let (fs, name, new_name, delivery) = (self.fs(), text(name), text(new_name), delivery(request));
        let rename =
            async move { fs.rename((node(parent), &name?), (node(new_parent), &new_name?), mode, delivery).await };
        self.answer(rename, |done| Self::reply_empty(reply, done));
    }

    fn link(&self, request: &Request, inode: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (fs, name, delivery) = (self.fs(), text(name), delivery(request));
        let link = async move { fs.link(node(inode), node(parent), &name?, delivery).await };
        self.answer(link, |attr| Self::reply_entry(reply, attr));
    }

    fn open(&self, _request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        let fs = self.fs();
        // The handle carries nothing: after a restart of the daemon there would be nobody who remembers it.
        self.answer(async move { fs.open(node(inode), write).await }, |mode| match mode {
            Ok(OpenMode::Immutable) => {
                reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
            }
            Ok(OpenMode::Fresh) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Ok(OpenMode::Passthrough(id)) => {
                // SAFETY: the id is open, and stays so until this handle is released; `into_raw` leaves that to `release`.
                let backing = unsafe { reply.wrap_backing(id.0) };
                // With FOPEN_KEEP_CACHE the kernel would refuse the open.
                reply.opened_passthrough(FileHandle(0), FopenFlags::FOPEN_NOFLUSH, &backing);
                backing.into_raw();
            }
            Err(error) => reply.error(error),
        });
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _runtime = self.runtime.enter();
        let (node, range) = (node(inode), ByteRange::at(offset, u64::from(size)));
        if let Some((missing, reply)) = read_here(&self.fs, node, range, reply) {
            self.runtime.spawn(read_from_afar(self.fs(), node, range, missing, reply));
        }
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (fs, data) = (self.fs(), data.to_vec());
        let write = async move {
            fs.write(node(inode), offset, &data).await?;
            Ok(data.len() as u32)
        };
        self.answer(write, |written| match written {
            Ok(len) => reply.written(len),
            Err(error) => reply.error(error),
        });
    }

    fn flush(&self, _request: &Request, inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        let fs = self.fs();
        self.answer(async move { fs.flush(node(inode)).await }, |done| Self::reply_empty(reply, done));
    }

    fn release(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.fs.release(node(inode));
        reply.ok();
    }

    fn fsync(&self, _request: &Request, inode: INodeNo, _handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let fs = self.fs();
        // A sync waits for the disk; the runtime has threads for that.
        self.runtime.spawn_blocking(move || {
            Self::reply_empty(reply, fs.sync(node(inode), data_only).map_err(errno));
        });
    }

    fn fsyncdir(&self, request: &Request, inode: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        self.fsync(request, inode, handle, data_only, reply);
    }

    fn opendir(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let (fs, folders) = (self.fs(), self.folders.clone());
        let open = async move {
            let mode = fs.open_folder(node(inode)).await?;
            // The kernel mostly has the list of one that never changes.
            let listed = match mode {
                FolderMode::Immutable => None,
                FolderMode::Fresh => Some(fs.list(node(inode)).await?),
            };
            Ok((mode, listed))
        };
        self.answer(open, move |open| match open {
            Ok((mode, listed)) => {
                let flags = match mode {
                    FolderMode::Immutable => FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
                    FolderMode::Fresh => FopenFlags::empty(),
                };
                let handle = folders.new_handle();
                if let Some(listed) = listed {
                    folders.keep(inode, handle, listed);
                }
                reply.opened(handle, flags);
            }
            Err(error) => reply.error(error),
        });
    }

    fn readdir(&self, _request: &Request, inode: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let (fs, folders) = (self.fs(), self.folders.clone());
        let listing = async move {
            match folders.get(inode, handle) {
                Some(listed) => Ok(listed),
                None => Ok(folders.keep(inode, handle, fs.list(node(inode)).await?)),
            }
        };
        self.answer(listing, move |listed| {
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => return reply.error(error),
            };
            for entry in listed_after(&listed, Cookie(offset)) {
                if reply.add(INodeNo(entry.node.0), entry.cookie.0, file_type(entry.kind), &entry.name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn releasedir(&self, _request: &Request, inode: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.folders.close(inode, handle);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        match self.fs.space() {
            Ok(space) => reply.statfs(
                space.f_blocks,
                space.f_bfree,
                space.f_bavail,
                space.f_files,
                space.f_ffree,
                space.f_bsize as u32,
                255,
                space.f_frsize as u32,
            ),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let exclusive = flags & rustix::fs::OFlags::EXCL.bits() as i32 != 0;
        let (fs, name, owner, delivery) = (self.fs(), text(name), owner(request), delivery(request));
        let create = async move { fs.create(node(parent), &name?, mode & 0o7777, owner, exclusive, delivery).await };
        self.answer(create, |attr| match attr {
            Ok(attr) => reply.created(
                &attr.lasting.duration(),
                &file_attr(&attr),
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(error),
        });
    }

    fn getxattr(&self, _request: &Request, inode: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        reply_attribute(reply, size, attributes::value(&self.fs, node(inode), name));
    }

    fn listxattr(&self, _request: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        reply_attribute(reply, size, attributes::names(&self.fs, node(inode)));
    }

    // What follows is not offered. ENOSYS is the word on which the kernel uses its own way and does not ask again.

    fn setxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn removexattr(&self, _request: &Request, _inode: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _from: INodeNo,
        _from_handle: FileHandle,
        _from_offset: u64,
        _to: INodeNo,
        _to_handle: FileHandle,
        _to_offset: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }

    /// Whoever opens a file as text asks whether it is a terminal.
    fn ioctl(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }
}
