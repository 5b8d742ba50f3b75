//! One door, named by `ZDM_FUZZ_TARGET`, under libFuzzer.

#![no_main]

#[path = "../targets.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static DOOR: LazyLock<fn(&[u8]) -> bool> = LazyLock::new(|| {
    let name = std::env::var("ZDM_FUZZ_TARGET").expect("ZDM_FUZZ_TARGET names a folder of the corpus");
    let found = targets::TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("{name} is no target")).1
});

fuzz_target!(|bytes: &[u8]| {
    DOOR(bytes);
});
