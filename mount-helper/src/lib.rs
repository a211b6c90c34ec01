//! What keeps a mount alive while no daemon serves it.
//!
//! A holder is a small process with the descriptors of every mount of one daemon. It starts the daemon, starts the next one
//! when it dies, and hands the descriptors on; see docs/design/0015-survival.md. It knows nothing of models, never speaks
//! FUSE, opens no network connection and reads no configuration.
