//! Any sequence of what users, operators and the network do, against plain bytes in memory: every read is right, limits
//! hold, what is kept stays.
//!
//! The sequences are random; one that fails is shortened and printed. `WEIGHTFS_MODEL_SEED` brings the same sequences
//! again, `WEIGHTFS_MODEL_CASES` sets how many there are.

mod contents;
mod real;
mod steps;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::harness::number_from;
use real::Real;
use steps::Case;

const CASES: u64 = 24;
const CASES_IN_FULL: u64 = 600;
const STEPS: usize = 60;
/// For each failure; a case is a mount and takes its time.
const SHRINK_MS: u32 = 60_000;

#[test]
fn any_sequence_of_events_reads_as_plain_files_do() {
    run(CASES);
}

#[test]
#[ignore = "long: make test-full"]
fn hundreds_of_sequences_of_events_read_as_plain_files_do() {
    run(CASES_IN_FULL);
}

fn run(cases: u64) {
    let seed = number_from("WEIGHTFS_MODEL_SEED").unwrap_or_else(rand::random);
    let cases = number_from("WEIGHTFS_MODEL_CASES").unwrap_or(cases) as u32;
    println!("WEIGHTFS_MODEL_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases,
        max_shrink_time: SHRINK_MS,
        max_shrink_iters: u32::MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new_with_rng(config, rng).run(&Case::any(STEPS), |case| {
        let mut real = Real::new(&case);
        case.steps.iter().for_each(|step| real.take(step));
        real.finish();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("WEIGHTFS_MODEL_SEED={seed}: {failure}");
    }
}
