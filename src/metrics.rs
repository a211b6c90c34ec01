//! Every figure that the daemon counts: name, unit and help, said once.

use std::sync::atomic::{AtomicU64, Ordering};

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

macro_rules! metrics {
    ($($name:ident: $unit:literal, $help:literal;)*) => {
        /// One field a figure; the parts of the daemon share it.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $name: Counter,)*
        }

        impl Metrics {
            /// Every figure as (name, unit, help, value), in the order of docs/METRICS.md.
            pub fn all(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
                vec![$((stringify!($name), $unit, $help, self.$name.get()),)*]
            }
        }
    };
}

metrics! {
    read_bytes: "bytes", "Bytes that readers got from the daemon.";
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
