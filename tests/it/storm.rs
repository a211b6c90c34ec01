//! A mount under everything at once, while its daemon is killed and replaced: no error, no wrong byte, nobody stands still.
//!
//! What happens is thrown by dice. A failure prints their seed: `WEIGHTFS_STORM_SEED` brings the same choices again (not the
//! same timing), `WEIGHTFS_STORM_KILLS` sets how many kills there are. With `--nocapture` each storm prints how long its
//! users had to wait.

mod builds;
mod crowd;
mod holders;
mod kills;
mod listers;
mod processes;
mod pulse;
mod readers;
mod scene;
mod stuck;
mod upgrades;
mod writers;

const MIB: usize = 1 << 20;
/// So slow that something is under way at every kill.
const SLOW_LINK: u64 = 16 * MIB as u64;
