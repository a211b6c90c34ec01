//! What one may ask of a node: its status, a mount, an unmount. The same for the control socket, the command line and,
//! later, the network and the web.
//!
//! It keeps the register of live mounts and turns what goes wrong into words; it knows no protocol.

mod error;
mod node;
mod parts;

pub use error::ControlError;
pub use node::{MountOrder, MountState, Node, NodeStatus, Unmounted};
pub use parts::{Mounted, Parts, Plane};
