//! The driver: moves batches from a source to a sink, and knows nothing of
//! either but their traits.
//!
//! | file | what it drives |
//! |---|---|
//! | `copy` | chunks of the initial copy, several at once |
//! | `follow` | the stream, grouped into target transactions |
//! | `reread` | rows that the stream does not carry whole |
//! | `repair` | rows of the target made right, between two groups of the stream |
//! | `retry` | again after an error that a retry can help |
//! | `status` | what can be watched |
//! | `touched` | which rows the stream has touched since a verification |
//! | `throttle` | the copy's speed, bounded |
//! | `turn` | who may change the target: the stream or a cutover |
//!
//! Between the three cursors of a stream (received, applied, acknowledged)
//! stand two rules. A position is *applied* when the sink has made it durable
//! together with its rows, and not before. It is *acknowledged* to the source
//! only then. So a kill anywhere costs repeated work and nothing else.

mod copy;
mod durable;
mod follow;
mod rate;
mod repair;
mod reread;
mod retry;
mod status;
mod throttle;
mod touched;
mod turn;

pub(crate) use copy::Copy;
pub(crate) use durable::Durable;
pub(crate) use follow::{Follow, Stop};
pub(crate) use repair::Repairs;
pub(crate) use reread::SourceReread;
pub use retry::Retry;
pub(crate) use status::StatusHandle;
pub use status::{Status, TableStatus, VerifyStatus};
pub use throttle::Throttle;
pub(crate) use touched::{Equal, Keyed, Keys, Touched};
pub(crate) use turn::Turn;
