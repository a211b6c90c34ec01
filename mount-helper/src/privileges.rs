//! What a holder for another user may do that an ordinary process may not, and nothing more.

use std::io;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// To register files with a connection and to unmount (`SYS_ADMIN`), also in a directory that is closed to root
/// (`DAC_READ_SEARCH`); to start a daemon as its user (`SETGID`, `SETUID`) and to end it (`KILL`).
const NEEDED: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::KILL);

/// Gives up everything else for good: for this process, and for all that it starts.
pub fn drop_what_no_holder_needs() -> io::Result<()> {
    for capability in CapabilitySet::all().difference(NEEDED).iter() {
        // The kernel may know fewer than there are bits.
        if capability_is_in_bounding_set(capability).is_ok_and(|is_in| is_in) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    clear_ambient_capability_set()?;
    let permitted = capabilities(None)?.permitted & NEEDED;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// Works on files as a user, in a directory where that user may put anything: what root would follow there, it must not.
/// `None` is this process's own user.
pub fn as_user<T>(ids: Option<(u32, u32)>, work: impl FnOnce() -> T) -> T {
    let Some((uid, gid)) = ids else { return work() };
    // Both calls return what was before and cannot fail with the right to change users.
    let group = setfsgid(Gid::from_raw(gid));
    let user = setfsuid(Uid::from_raw(uid));
    let done = work();
    setfsuid(user);
    setfsgid(group);
    done
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_is_made_as_a_user_is_that_users() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(as_user(Some((65534, 65534)), || std::fs::write(&path, "")).is_err(), "the folder is root's");
        nix::unistd::chown(folder.path(), Some(Uid::from_raw(65534)), None).unwrap();
        as_user(Some((65534, 65534)), || std::fs::write(&path, "")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), 65534);
        std::fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(std::fs::metadata(folder.path().join("other")).unwrap().uid(), 0);
    }
}
