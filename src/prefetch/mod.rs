//! Pure policies of read-ahead: reads in, ranges ahead out. `fs` asks, `cache` fetches. No IO, no clock.

mod sequential;

pub use sequential::Sequential;
