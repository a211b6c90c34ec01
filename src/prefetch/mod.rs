//! Pure policies of read-ahead: reads in, ranges ahead out. `fs` asks, `cache` fetches. No IO, no clock.
//!
//! - `ahead` is what an open file has: it tells looking from loading and says what to bring.
//! - `sequential` follows readers that go forward, `looks` tells one tensor from several.
//! - `safetensors` and `gguf` say where the tensors of a file lie (`layout`).
//! - `shards` says which files of a model come next.

mod ahead;
#[cfg(feature = "benching")]
pub mod benching;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gguf;
mod layout;
mod looks;
mod safetensors;
mod sequential;
pub mod shards;

pub use ahead::{Ahead, Plan};
