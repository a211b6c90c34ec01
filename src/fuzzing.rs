//! Every parser of what others wrote, as a function of bytes that must come back from whatever it is given.
//!
//! Built for tests and for `fuzz/` only. A parser that is broken panics here, in itself or because what it answers is not
//! what it promises.

/// One parser with its checks.
pub type Target = fn(&[u8]);

/// By the name of the program in `fuzz/fuzz_targets/` and of the folder in `fuzz/seeds/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("config_yaml", crate::config::fuzzing::yaml),
    ("gguf_header", crate::prefetch::fuzzing::gguf_header),
    ("http_headers", crate::origin::http::fuzzing::response_headers),
    ("hub_info", crate::origin::hub::fuzzing::info),
    ("hub_next_page", crate::origin::hub::fuzzing::next_page),
    ("hub_tree", crate::origin::hub::fuzzing::tree),
    ("index_json", crate::prefetch::fuzzing::index),
    ("refs", crate::fs::fuzzing::refs),
    ("safetensors_header", crate::prefetch::fuzzing::safetensors_header),
];

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const MUTATIONS: u64 = 2000;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        seeds
    }

    /// A few changes of the kinds that a fuzzer makes.
    fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        const STRANGE: &[&[u8]] =
            &[b"\0", b"\xff", b"-1", b"18446744073709551615", b"\"", b"{", b"]", b"\r\n", b"/../", b"1e999"];
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..=bytes.len());
            let end = (at + random.random_range(0..9)).min(bytes.len());
            match random.random_range(0..6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
                1 if at < bytes.len() => bytes[at] = random.random(),
                2 => drop(bytes.drain(at..end)),
                3 => drop(bytes.splice(at..end, STRANGE[random.random_range(0..STRANGE.len())].iter().copied())),
                4 => bytes.truncate(at),
                _ => {
                    let other = &others[random.random_range(0..others.len())];
                    let from = random.random_range(0..=other.len());
                    let to = (from + random.random_range(0..64)).min(other.len());
                    drop(bytes.splice(at..at, other[from..to].iter().copied()));
                }
            }
        }
    }

    #[test]
    fn no_parser_of_foreign_input_breaks_on_its_seeds_or_on_damage_to_them() {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            let check = |bytes: &[u8]| {
                let outcome = catch_unwind(AssertUnwindSafe(|| target(bytes)));
                assert!(outcome.is_ok(), "{name} breaks on {:?}", String::from_utf8_lossy(bytes));
            };
            seeds.iter().for_each(|seed| check(seed));
            let mut random = StdRng::seed_from_u64(0x5eed);
            for turn in 0..MUTATIONS {
                let mut bytes = seeds[turn as usize % seeds.len()].clone();
                mutate(&mut random, &mut bytes, &seeds);
                check(&bytes);
            }
        }
    }

    #[test]
    fn every_target_is_a_program_of_the_fuzzer() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        let mut programs: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        programs.sort();
        assert_eq!(programs, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
