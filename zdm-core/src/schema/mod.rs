//! The neutral schema: what a table is, for every engine.
//!
//! A [`Table`] says what rows look like (columns, [`DataType`]s, [`Key`]) and
//! keeps, beside that, what only its own engine understands: native type
//! names, and the statements that make its indexes, constraints and triggers.
//! A sink of the same engine runs those as they are; a sink of another engine
//! goes by the neutral parts and reports the rest.
//!
//! Tables travel as `Arc<Table>`. A changed shape is a new `Arc`, so a stage
//! or a writer may key its per-table work on the pointer.

mod column;
pub mod conversion;
mod data_type;
mod expression;
mod object;
mod selection;
mod shape;
mod table;

pub use column::{Column, Domain, DomainCheck, Equality, Generated, Identity as IdentityColumn, NativeType};
pub use data_type::DataType;
pub use expression::{Expr, Function, Operator, Syntax, Words};
pub use object::{
    Action, Condition, Constraint, ConstraintKind, Definition, DefinitionKind, ForeignKey, Index, IndexKey,
    IndexMethod, KeyPart, Partition, Schema, Sequence, SequenceRange, Trigger, Unmoved, UnmovedKind,
};
pub use selection::Selection;
pub(crate) use shape::Fate;
pub use shape::Shape;
pub use table::{Key, Origin, Table, TableName, Written};
