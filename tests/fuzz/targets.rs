//! Each place where bytes from outside enter, by the name of its corpus.
//!
//! A target takes any bytes, fails only by panicking, and returns whether it
//! understood them. The test `fuzz` runs
//! them over the corpus, and the fuzzers of this folder without end.

use serde_json::from_slice;
use zdm_core::change::{Change, decode_core, encode_core};
use zdm_core::connect::State;
use zdm_mysql::fuzz as my;
use zdm_pg::fuzz;

/// A name, and the door.
pub(crate) type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub(crate) const TARGETS: [Target; 20] = [
    ("pg_messages", fuzz::messages),
    ("pg_log", fuzz::log),
    ("pg_session", fuzz::session),
    ("pg_scram", fuzz::scram),
    ("pg_value", fuzz::value),
    ("pg_copied_rows", fuzz::copied_rows),
    ("pg_connection_string", fuzz::connection_string),
    ("pg_password_file", fuzz::password_file),
    ("my_events", my::events),
    ("my_log", my::log),
    ("my_statement", my::statement),
    ("my_packets", my::packets),
    ("my_session", my::session),
    ("my_value", my::value),
    ("my_json", my::json),
    ("my_json_diff", my::json_diff),
    ("my_position", my::position),
    ("core_value", core_value),
    ("change_json", change_json),
    ("checkpoint_json", checkpoint_json),
];

/// A computed cell. Bytes that are one are the only ones for their value.
fn core_value(bytes: &[u8]) -> bool {
    let Ok(value) = decode_core(bytes) else { return false };
    let mut again = Vec::new();
    encode_core(&value, &mut again);
    assert_eq!(again, bytes, "{value:?}");
    true
}

/// A change as a dead letter keeps it.
fn change_json(bytes: &[u8]) -> bool {
    let Ok(change) = from_slice::<Change>(bytes) else { return false };
    let text = serde_json::to_vec(&change).expect("what was JSON can be JSON again");
    assert_eq!(from_slice::<Change>(&text).expect("what was written is read"), change);
    true
}

/// What a checkpoint's file holds.
fn checkpoint_json(bytes: &[u8]) -> bool {
    let Ok(state) = from_slice::<State>(bytes) else { return false };
    let text = serde_json::to_vec(&state).expect("what was JSON can be JSON again");
    assert_eq!(from_slice::<State>(&text).expect("what was written is read"), state);
    true
}
