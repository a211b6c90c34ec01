//! Every figure that the daemon counts: name, unit and help, said once.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is said of a figure besides its value.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub help: &'static str,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Begins at 0 with the daemon and only grows.
    Counter,
    /// How things stand.
    Gauge,
}

impl Figure {
    /// As Prometheus knows it: counters are totals.
    pub fn prometheus_name(&self) -> String {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("weightfs_{}{total}", self.name)
    }
}

/// A figure that only grows while the daemon runs.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! figures {
    ($kind:expr, $($name:ident: $unit:literal, $help:literal;)*) => {
        &[$(Figure { name: stringify!($name), unit: $unit, help: $help, kind: $kind },)*]
    };
}

macro_rules! metrics {
    ($($name:ident: $unit:literal, $help:literal;)*) => {
        /// One field a figure; the parts of the daemon share it.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $name: Counter,)*
        }

        impl Metrics {
            pub const FIGURES: &'static [Figure] = figures!(Kind::Counter, $($name: $unit, $help;)*);

            /// Every figure with its value, in the order of docs/METRICS.md.
            pub fn all(&self) -> Vec<(Figure, u64)> {
                Self::FIGURES.iter().copied().zip([$(self.$name.get(),)*]).collect()
            }
        }
    };
}

macro_rules! levels {
    ($($name:ident: $type:ty, $unit:literal, $help:literal;)*) => {
        /// How a node stands at one moment. It is taken when somebody asks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Levels {
            $(#[doc = $help] pub $name: $type,)*
        }

        impl Levels {
            pub const FIGURES: &'static [Figure] = figures!(Kind::Gauge, $($name: $unit, $help;)*);

            /// Every figure that has a value, in the order of docs/METRICS.md.
            pub fn all(&self) -> Vec<(Figure, u64)> {
                let values = [$(Option::<u64>::from(self.$name),)*];
                Self::FIGURES.iter().copied().zip(values).filter_map(|(figure, value)| Some((figure, value?))).collect()
            }
        }
    };
}

levels! {
    uptime_seconds: u64, "seconds", "How long the daemon runs.";
    cache_bytes: u64, "bytes", "Contents on the disk, and what fetches under way will bring.";
    cache_limit_bytes: Option<u64>, "bytes", "cache.max_size_bytes. It is missing where there is no limit.";
    cache_free_bytes: u64, "bytes", "What may still come in before something must go: by the limit and by the disk.";
    mounts: u64, "mounts", "Mounts in their directories.";
    detached_mounts: u64, "mounts", "Mounts that were taken from their directories and are still open in some process.";
    surviving_mounts: u64, "mounts", "Mounts that go on when the daemon dies.";
    flights: u64, "flights", "Runs of blocks that are on their way or wait for their turn.";
    fetches: u64, "fetches", "Flights that have their turn: there are never more than 16.";
}

metrics! {
    read_bytes: "bytes", "Bytes that readers got from the daemon.";
    served_bytes: "bytes", "Bytes of contents that other machines got by the service.";
    passthrough_opens: "opens", "Opens of complete files, whose reads go past the daemon.";
    fetched_bytes: "bytes", "Bytes of contents that came from an origin.";
    fetch_requests: "requests", "Requests for contents sent to an origin, redirects and retries included.";
    fetch_failures: "requests", "Requests for contents that failed or broke off.";
    xet_bytes: "bytes", "Bytes of contents that came by the chunks of a Xet store. They are part of fetched_bytes.";
    xet_transferred_bytes: "bytes", "What of these went over the network: compressed, and of whole chunks.";
    xet_fallbacks: "ranges", "Ranges that were begun by chunks and went on plainly.";
    catalog_requests: "requests", "Requests for names sent to an origin: revisions, listings, redirects.";
    catalog_failures: "requests", "Requests for names that failed.";
    damaged_blocks: "blocks", "Blocks whose bytes on disk no longer matched their checksum; they were fetched again.";
    recovered_blobs: "blobs", "Whole files that were not on record and proved to be what they are called.";
    swept_files: "files", "Files in the cache that nothing spoke for; they were deleted.";
    shared_blobs: "blobs", "Contents that became one file with an equal content of another name.";
    scrubbed_blobs: "blobs", "Contents that were read again and checked in the background.";
    database_damages: "errors", "Times that the database was found damaged.";
    evicted_blobs: "blobs", "Contents that were deleted from the cache, by its limits or on request.";
    evicted_bytes: "bytes", "What evicted contents took on the disk.";
    unkept_blocks: "blocks", "Blocks that were served without being kept, because the cache or its disk is full.";
    unrecorded_blocks: "blocks", "Blocks that the database could not record, each time it was tried.";
    mismatched_blobs: "blobs", "Contents that did not match the hash their origin states; they were dropped.";
}
