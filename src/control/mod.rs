//! What one may ask of a node: its status, a mount, an unmount, and jobs: work on models that takes its time. The same
//! for the control socket, the command line and, later, the network and the web.
//!
//! It keeps the register of live mounts and jobs and turns what goes wrong into words; it knows no protocol.

mod error;
pub mod job;
mod node;
mod parts;
mod shelf;

pub use error::ControlError;
pub use node::{JobSeat, MountOrder, MountState, Node, NodeStatus, Unmounted};
pub use parts::{Mounted, Parts, Plane};
pub use shelf::{Piecewise, Removal, Shelf};
