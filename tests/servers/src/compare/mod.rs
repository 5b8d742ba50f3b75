//! Two databases compared by plain SQL, with an ordinary client. None of it
//! knows anything of whoever copied them.
//!
//! * [`compare`]: two PostgreSQL databases, each row as the text of the whole
//!   row, sorted by the servers: flat in memory.
//! * [`Across`]: any two databases, also of different engines, cell by cell, in
//!   a form that both sides can say ([`Kind`]).

mod across;
mod canonical;
mod catalog;
mod expressions;
mod kind;
mod read;
mod whole;

pub use self::across::{Across, Difference, Differences, Side};
pub use self::kind::Kind;
pub use self::whole::{Compared, Comparison, compare};
