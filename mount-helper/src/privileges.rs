//! What a holder for another user may do that an ordinary process may not, and nothing more.

use std::io;

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
