//! The tool `zdm`, run as its users run it, against real servers.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod crossing;
mod ends;
mod fixture;
mod fro;
mod life;
mod refusals;
mod rehearsed;
mod rights;
mod verify;
