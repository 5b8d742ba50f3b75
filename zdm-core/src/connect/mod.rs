//! The traits that a connector implements, and their contracts.
//!
//! An engine crate offers a [`Source`], a [`Sink`], or both. Everything else
//! (pipeline, snapshot, apply, cutover) is written against these traits and
//! is the same for every engine.
//!
//! | trait | what it is asked for |
//! |---|---|
//! | [`Source`] | identity, schema, a [`Snapshot`], a stream of [`Changes`] |
//! | [`Snapshot`] | chunks of tables, read without locks, each with its [`After`] point |
//! | [`Sink`] | tables made in [steps](Step), [`Writer`]s, its own [`Checkpoint`] |
//! | [`Writer`] | rows and progress made durable in one transaction |
//! | [`Checkpoint`] | how far a run has come, compare-and-swap |
//! | [`Assess`], [`Claim`], [`Fence`], [`LogEnd`], [`Sequences`], [`Shapes`], [`Verify`] | capabilities: what an engine may lack |
//!
//! Start at [`Source`] to read from a new engine and at [`Sink`] to write to
//! one; `zdm_core::memory` is a complete connector of both kinds to learn
//! from, and `zdm_core::conformance` is the suite to pass.

mod assess;
mod checkpoint;
mod claim;
mod fence;
mod log_end;
mod sequences;
mod shapes;
mod sink;
mod snapshot;
mod source;
mod verify;

pub use assess::{Assess, Finding, ORPHANS, Role, Severity};
pub use checkpoint::{
    Checkpoint, ChunkDone, ChunkId, ChunkRecord, Epoch, Phase, Progress, Record, RunName, State,
};
pub use claim::Claim;
pub use fence::{Fence, Hold, HoldOptions, SwitchRecord, SwitchState, left_since};
pub use log_end::LogEnd;
pub use sequences::{SequenceValue, Sequences};
pub use shapes::Shapes;
pub use sink::{Purpose, Reread, Sink, SinkCapabilities, Step, Writer, WriterOptions};
pub use snapshot::{After, Bounds, Chunk, ChunkPart, ChunkPlan, ChunkSize, Snapshot, Visibility};
pub use source::{Ack, Changes, Head, Source, SourceCapabilities, StreamOptions};
pub use verify::{Reader, Verify};
