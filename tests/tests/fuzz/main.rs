//! Bytes from outside never make us panic, hang or grow: the corpus of
//! `tests/fuzz` and seeded mutations of it, through every door.
//!
//! `ZDM_FUZZ_ROUNDS` is how often each entry is mutated; the mutations of a
//! round are the same on every machine. `CONTRIBUTING.md` tells how to fuzz
//! without end, and how the corpus came to be.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

mod capture;
mod mutate;
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use peak_alloc::PeakAlloc;

use self::targets::TARGETS;

/// Counts what is allocated in this process.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most that one input may take: so much, and so much for each of its
/// bytes. A byte of an array's text can be an element, which takes 48 once it
/// is decoded, and as much again while the list of them grows.
const MEMORY_AT_ALL: usize = 1 << 20;
const MEMORY_PER_BYTE: usize = 256;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn entries(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = files.map(|file| file.unwrap().path());
    let mut entries: Vec<_> =
        paths.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
    entries.sort();
    assert!(!entries.is_empty(), "{target} has no corpus");
    entries
}

#[test]
fn no_bytes_make_us_panic_or_grow() {
    let rounds: u64 = std::env::var("ZDM_FUZZ_ROUNDS").map_or(100, |rounds| rounds.parse().unwrap());
    for (name, run) in TARGETS {
        let entries = entries(name);
        for (at, (path, seed)) in entries.iter().enumerate() {
            // A corpus that nobody understands leads nowhere.
            let bad = ["/bad-", "/crash-"].iter().any(|kind| path.contains(kind));
            assert!(bounded(run, seed, path) || bad, "{path} is not understood");
            let mut random = fastrand::Rng::with_seed(u64::try_from(at).unwrap());
            for round in 0..rounds {
                let other = &entries[random.usize(..entries.len())].1;
                let bytes = mutate::mutate(seed, other, &mut random);
                bounded(run, &bytes, &format!("{path}, round {round}"));
            }
        }
    }
}

/// Runs a target and looks at what it took. A panic tells by itself, and the
/// input is printed for the corpus.
fn bounded(run: fn(&[u8]) -> bool, bytes: &[u8], what: &str) -> bool {
    // One at a time: the peak is the process's.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let input = Shown { bytes, what };
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let understood = run(bytes);
    let took = MEMORY.peak_usage().saturating_sub(before);
    let limit = MEMORY_AT_ALL + MEMORY_PER_BYTE * bytes.len();
    assert!(took <= limit, "{took} bytes of memory for {} of input", bytes.len());
    std::mem::forget(input);
    understood
}

/// Tells which input it was when a panic unwinds past it.
struct Shown<'a> {
    bytes: &'a [u8],
    what: &'a str,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        eprintln!("{}: b\"{}\"", self.what, self.bytes.escape_ascii());
    }
}

#[test]
#[should_panic(expected = "bytes of memory")]
fn a_target_that_grows_is_seen() {
    bounded(|_| std::hint::black_box(vec![1_u8; 4 << 20]).is_empty(), b"x", "grows");
}
